"""Small tables for the vote: classes as directions, long articles around them, short texts of which some are
labelled wrongly."""

from collections.abc import Mapping, Sequence

import numpy as np
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from tests.tables import put

CLASSES = ("autos", "music", "sports")
LONG_TEXT = "a long text " * 20
ENCODER = "test encoder: mean/512"  # a name that partition folders have to escape
Vector = Sequence[float] | None


def around(class_name: str, seed: int, spread: float = 0.2) -> list[float]:
    """A vector near the direction of a class."""
    direction = np.eye(8, dtype=np.float32)[CLASSES.index(class_name)]
    return [float(x) for x in direction + spread * np.random.default_rng([seed, 7]).standard_normal(8)]


def write_news(lake: Lakehouse, rows: Sequence[tuple[str, str | None, str]]) -> None:
    """news_id, category, title."""
    frame = frame_of(lake.spark, list(rows), "news_id string, category string, title string")
    contract = lake.schema("news")
    given = {
        "news_id": F.col("news_id"),
        "category": F.col("category"),
        "title": F.col("title"),
        "content_hash": F.sha2("title", 256),
    }
    columns = [
        given.get(field.name, F.lit(None).cast(field.dataType)).alias(field.name) for field in contract
    ]
    put(lake, "news", frame.select(*columns))


def write_vectors(
    lake: Lakehouse, vectors: Mapping[str, Vector], *, encoder: str = ENCODER, stale: Sequence[str] = ()
) -> None:
    """Vectors of articles that are in table news, made from their present text but for the stale ones."""
    frame = frame_of(
        lake.spark,
        [(k, list(v)) for k, v in vectors.items() if v is not None],
        "news_id string, embedding array<float>",
    )
    hashes = lake.read("news").select("news_id", "content_hash")
    found = frame.join(hashes, on="news_id", how="inner")
    found = found.withColumn(
        "content_hash", F.when(F.col("news_id").isin(list(stale)), "stale").otherwise(F.col("content_hash"))
    )
    rows = found.select(
        "news_id",
        F.lit(encoder).alias("encoder_id"),
        "content_hash",
        F.lit(3).alias("token_count"),
        "embedding",
    )
    put(lake, "article_embeddings", rows)


def write_scores(
    lake: Lakehouse, scores: Mapping[str, tuple[str, float]], *, model_run: str = "brought"
) -> None:
    """Class and score of articles."""
    rows = [(news_id, model_run, name, score, None) for news_id, (name, score) in scores.items()]
    put(lake, "article_class_scores", frame_of(lake.spark, rows, lake.schema("article_class_scores")))


def long_articles(each: int) -> dict[str, str]:
    """news_id -> class: `each` of every class."""
    return {f"L{name}{i:02}": name for name in CLASSES for i in range(each)}


def fill(
    lake: Lakehouse,
    short: Mapping[str, tuple[str | None, Vector]],
    *,
    each: int = 8,
    unsure: Sequence[str] = (),
) -> None:
    """Long articles with vectors and scores, and the short texts given as news_id -> (label, vector)."""
    long = long_articles(each)
    rows = [(news_id, "unknown", f"{news_id} {LONG_TEXT}") for news_id in long]
    write_news(
        lake, [*rows, *((news_id, label, f"short {news_id}") for news_id, (label, _) in short.items())]
    )
    vectors: dict[str, Vector] = {
        news_id: around(name, seed) for seed, (news_id, name) in enumerate(long.items())
    }
    write_vectors(lake, {**vectors, **{news_id: vector for news_id, (_, vector) in short.items()}})
    write_scores(
        lake, {news_id: (name, 0.9 if news_id in unsure else 0.95) for news_id, name in long.items()}
    )
