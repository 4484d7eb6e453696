"""What was known of readers and articles at a moment, as functions of frames: what was read and seen, and
since when."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.ranking.features import NO_VALUE

_AFTER_TOLD = 1_000_000
"""Places of clicks: after those of articles that an impression's click history tells of, which were read
before."""


def reading(impressions: DataFrame, click_history: DataFrame) -> DataFrame:
    """Which articles each user has read, and since when that is known: user_id, news_id, known_at, place; no
    pair twice.

    A click is known from when it came on, and what an impression's click history tells of from that
    impression on. Articles known from the same moment on stand in the order of `place`.

    Args:
        impressions: rows of the table with clicked_at, see `with_click_times`.
        click_history: rows of the table.
    """
    told = click_history.select("user_id", "occurred_at", F.posexplode("news_ids").alias("place", "news_id"))
    clicked = impressions.where("clicked").select(
        "user_id", "clicked_at", (F.col("position") + _AFTER_TOLD).alias("place"), "news_id"
    )
    first = F.min(F.struct(F.col("occurred_at").alias("known_at"), "place")).alias("first")
    return (
        told.union(clicked).groupBy("user_id", "news_id").agg(first).select("user_id", "news_id", "first.*")
    )


def histories(read: DataFrame, articles: DataFrame) -> DataFrame:
    """Each user's reading as one array, oldest first: user_id, reading (structs of known_at, place, news_id,
    embedding, categories).

    Args:
        read: what `reading` gives.
        articles: what `numbered` gives.
    """
    columns = ("news_id", "embedding", "category", "subcategory", "recommended")
    rows = read.join(articles.select(*columns), on="news_id", how="left")
    unknown = {"embedding": -1, "category": NO_VALUE, "subcategory": NO_VALUE, "recommended": -1}
    entry = F.struct(
        "known_at",
        "place",
        "news_id",
        *(F.coalesce(name, F.lit(value)).alias(name) for name, value in unknown.items()),
    )
    return rows.groupBy("user_id").agg(F.sort_array(F.collect_list(entry)).alias("reading"))


def numbered(
    news: DataFrame, embeddings: DataFrame, vectors: DataFrame, recommended: DataFrame | None = None
) -> DataFrame:
    """Articles as numbers: news_id, published_at, embedding, vector and recommended (rows, -1 for none),
    category and subcategory (hashes).

    Args:
        news: news_id, published_at, category, subcategory.
        embeddings, vectors: the index of a vector map each: id, row.
        recommended: news_id, article: the numbers that a recommender has of them; None where there is none.
    """
    rows = news.join(_rows(embeddings, "embedding"), on="news_id", how="left").join(
        _rows(vectors, "vector"), on="news_id", how="left"
    )
    if recommended is None:
        rows = rows.withColumn("recommended", F.lit(-1))
    else:
        numbers = recommended.select("news_id", F.col("article").alias("recommended"))
        rows = rows.join(numbers, on="news_id", how="left")
    return rows.select(
        "news_id",
        "published_at",
        *(F.coalesce(name, F.lit(-1)).alias(name) for name in ("embedding", "vector", "recommended")),
        *(_number(F.col(name)).alias(name) for name in ("category", "subcategory")),
    )


def exposures(impressions: DataFrame) -> DataFrame:
    """When each user was shown each article: user_id, news_id, shown_at (array of times)."""
    return impressions.groupBy("user_id", "news_id").agg(F.collect_list("occurred_at").alias("shown_at"))


def profiles(vectors: DataFrame) -> DataFrame:
    """Each user's vectors of a day as one array: user_id, as_of, profile (structs of vector, a row, and
    weight).

    Args:
        vectors: id (the user), as_of, row, weight.
    """
    entry = F.struct(F.col("row").alias("vector"), "weight")
    return vectors.groupBy(F.col("id").alias("user_id"), "as_of").agg(
        F.sort_array(F.collect_list(entry)).alias("profile")
    )


def day_of(hour: Column, days: Sequence[date]) -> Column:
    """The latest of some days up to an hour's: a day's vectors hold from its start; NULL where there is
    none."""
    latest = [F.when(F.to_date(hour) >= F.lit(day), F.lit(day)) for day in sorted(days, reverse=True)]
    return F.coalesce(*latest, F.lit(None).cast("date"))


def _rows(index: DataFrame, name: str) -> DataFrame:
    return index.groupBy(F.col("id").alias("news_id")).agg(F.min("row").alias(name))


def _number(text: Column) -> Column:
    return F.coalesce(F.when(text.isNotNull(), F.xxhash64(text)), F.lit(NO_VALUE).cast("bigint"))
