"""Texts to rows of table article_embeddings: one way for a job's slices and for a stream's batches."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import rows_of, send
from newslake.spark.frames import Frames
from newslake.text.embed import EmbedSettings, embed_column
from newslake.text.rows import one_of_each_text, segments, vector_rows
from newslake.text.spec import ResolvedEncoder


@dataclass(frozen=True)
class Encoded:
    """What came of some articles.

    Attributes:
        rows: of article_embeddings, those that were encoded.
        texts: distinct ones.
        failed: those of them that could not be encoded.
        tokens: of the others.
        written: articles that got a vector.
        rejected: articles that went to quarantine.
    """

    rows: DataFrame
    texts: int
    failed: int
    tokens: int
    written: int
    rejected: int


def encode_texts(
    lake: Lakehouse,
    run: JobRun,
    frames: Frames,
    articles: DataFrame,
    encoder: ResolvedEncoder,
    settings: EmbedSettings,
    *,
    tasks: int,
    write: Callable[[DataFrame], int],
) -> Encoded:
    """Encode each distinct text once, write its vector for every article that has it, and send what cannot be
    encoded to quarantine.

    Args:
        lake, run: of the job or stream.
        frames: keep what was encoded for further uses.
        articles: news_id, title, abstract, body, content_hash of articles that lack a vector.
        encoder: from text.spec.resolve.
        settings: how the workers run it.
        tasks: that the texts are spread over.
        write: writes rows of article_embeddings; returns how many.
    """
    first, second = segments(encoder.spec.fields)
    given = one_of_each_text(articles, tasks).select(
        "content_hash", "news_ids", first.alias("first"), second.alias("second")
    )
    encoded = frames.keep(
        embed_column(given, "first", "second", encoder, settings=settings).select(
            "content_hash", "news_ids", "embedded.*"
        )
    )
    counted = encoded.agg(F.count("*"), F.count("error"), F.sum("token_count")).head()
    assert counted is not None
    texts, failed, tokens = (int(count or 0) for count in counted)
    rows = vector_rows(encoded, encoder)
    written = write(rows) if texts > failed else 0
    rejected = _reject(lake, run, articles, encoded.where(F.col("error").isNotNull())) if failed else 0
    return Encoded(rows, texts, failed, tokens, written, rejected)


def _reject(lake: Lakehouse, run: JobRun, articles: DataFrame, failures: DataFrame) -> int:
    """Send every article whose text failed to quarantine; returns how many there are."""
    rows = articles.join(failures.select("content_hash", "error"), on="content_hash", how="inner")
    raw = F.to_json(F.struct("title", "abstract", "body"))
    return send(
        lake,
        run,
        rows_of(rows, "news", record_id=F.col("news_id"), raw=raw, reason=F.col("error")),
        job=run.job,
    )
