"""What the jobs of this room share: one encoder's files as one side of a search, and rejected vectors."""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import rows_of, send
from newslake.search.scratch import Scratch
from newslake.search.vector_files import VectorFiles

EMBEDDINGS = "article_embeddings"


def embedding_side(
    lake: Lakehouse, encoder_id: str, files: Scratch, only: DataFrame, name: str
) -> VectorFiles:
    """One encoder's vectors of the articles of `only` (news_id), which are listed in `files` by that name."""
    rows = lake.read(EMBEDDINGS).where(F.col("encoder_id") == encoder_id)
    listed = files.write(only.select("news_id"), name)
    identity = {"encoder_id": encoder_id}
    return VectorFiles.of(rows, "news_id", "embedding", files, only=listed, identity=identity)


def with_vector(rows: DataFrame, embeddings: DataFrame) -> DataFrame:
    """Of rows with news_id and content_hash, those whose present text has a vector."""
    return rows.join(
        embeddings.select("news_id", "content_hash"), on=["news_id", "content_hash"], how="left_semi"
    )


def quarantine(lake: Lakehouse, run: JobRun, found: DataFrame, *, sources: Mapping[str, str]) -> None:
    """Send what a search left out to quarantine.

    Args:
        found: what `nearest` gave.
        sources: the table behind query_id and behind item_id.
    """
    wrong = found.where(F.col("problem").isNotNull())
    if wrong.isEmpty():
        return
    source = F.when(F.col("query_id").isNotNull(), F.lit(sources["query_id"])).otherwise(
        F.lit(sources["item_id"])
    )
    record = F.coalesce("query_id", "item_id")
    rows = rows_of(wrong, source, record_id=record, raw=F.lit(None), reason=F.col("problem"))
    send(lake, run, rows.dropDuplicates(["source", "record_id", "reason"]), job=run.job)
