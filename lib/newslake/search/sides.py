"""What the jobs of this room share: one encoder chosen, its files as one side of a search, and rejected vectors."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.quarantine import rejected
from newslake.search.vector_files import VectorFiles, table_files

EMBEDDINGS = "article_embeddings"


def chosen(rows: DataFrame, column: str, asked: str | None, *, table: str, built_by: str) -> str:
    """The value asked for, or the only one that there is: vectors (or scores) of two do not mix.

    Raises:
        UserError: there is none, several, or not the one asked for.
    """
    found = sorted(str(row[0]) for row in rows.select(column).distinct().collect())
    option = f"--{column.replace('_', '-')}"
    if not found:
        raise UserError(f"table {table} is empty: run {built_by} first")
    if asked is not None and asked not in found:
        raise UserError(f"{option} {asked}: table {table} has none of it; it has {', '.join(found)}")
    if asked is None and len(found) > 1:
        raise UserError(f"table {table} holds several, which do not mix: choose with {option} {' or '.join(found)}")
    return asked or found[0]


def embedding_side(lake: Lakehouse, encoder_id: str, only: tuple[str, ...]) -> VectorFiles:
    """One encoder's vectors of the articles that `only` lists."""
    files = table_files(lake.read(EMBEDDINGS).where(F.col("encoder_id") == encoder_id))
    return VectorFiles(files, "news_id", "embedding", only=only, identity={"encoder_id": encoder_id})


def with_vector(rows: DataFrame, embeddings: DataFrame) -> DataFrame:
    """Of rows with news_id and content_hash, those whose present text has a vector."""
    return rows.join(embeddings.select("news_id", "content_hash"), on=["news_id", "content_hash"], how="left_semi")


def quarantine(lake: Lakehouse, run: JobRun, found: DataFrame, *, sources: Mapping[str, str]) -> None:
    """Send what a search left out to quarantine.

    Args:
        found: what `nearest` gave.
        sources: the table behind query_id and behind item_id.
    """
    wrong = found.where(F.col("problem").isNotNull())
    if wrong.isEmpty():
        return
    source = F.when(F.col("query_id").isNotNull(), F.lit(sources["query_id"])).otherwise(F.lit(sources["item_id"]))
    rows = wrong.select(
        F.concat(F.lit("table "), source).alias("source"),
        F.lit(None).cast("bigint").alias("line_number"),
        F.coalesce("query_id", "item_id").alias("record_id"),
        F.lit(None).cast("binary").alias("raw"),
        F.col("problem").alias("reason"),
        F.current_timestamp().alias("ingested_at"),
    )
    kept = rejected(rows, job=run.job).dropDuplicates(["quarantine_id"]).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        run.quarantined(kept.count())
        lake.merge("quarantine", kept, update=False)
    finally:
        kept.unpersist()


def day(text: str | None, option: str) -> date:
    """A day such as 2019-11-15; None: today, UTC.

    Raises:
        UserError: it is no day.
    """
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} {text}: give a day such as 2019-11-15") from None
