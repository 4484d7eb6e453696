"""The newsfeed as functions of frames: candidates, what was read, how candidates are ranked, and feeds for
users without vectors."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.ranking.ctr import hours_between
from newslake.ranking.options import FormulaOptions
from newslake.search.one_of_a_story import one_of_each

VECTORS, CATEGORIES, POPULAR = "vectors", "categories", "popular"
_LEAST_CTR = 1e-6
_CATEGORIES_OF_A_USER = 3
_LN2 = 0.6931471805599453


def recent(news: DataFrame, hour: datetime, days: int) -> DataFrame:
    """Articles published in the `days` before the hour: news_id, category, published_at."""
    since = hour - timedelta(days=days)
    rows = news.where((F.col("published_at") >= F.lit(since)) & (F.col("published_at") < F.lit(hour)))
    return rows.select("news_id", "category", "published_at")


def read_before(impressions: DataFrame, click_history: DataFrame, hour: datetime) -> DataFrame:
    """What each user clicked strictly before the hour: user_id, news_id, no pair twice; impressions have
    clicked_at."""
    clicked = impressions.where(F.col("clicked") & (F.col("clicked_at") < F.lit(hour))).select(
        "user_id", "news_id"
    )
    told = click_history.where(F.col("occurred_at") < F.lit(hour)).select(
        "user_id", F.explode("news_ids").alias("news_id")
    )
    return clicked.union(told).distinct()


def score(settings: FormulaOptions, hour: datetime, cosine: Column | None) -> Column:
    """What the formula ranks a candidate by, of its columns ctr and published_at."""
    return formula(
        settings,
        F.col("ctr"),
        hours_between(F.col("published_at"), hour),
        None if cosine is None else cosine.cast("double"),
    )


def formula(settings: FormulaOptions, rate: Column, age_hours: Column, likeness: Column | None) -> Column:
    """The log of a candidate's click-through rate, halved by age, and its likeness to the user."""
    popular = F.log(F.greatest(rate, F.lit(_LEAST_CTR)))
    aged = popular - F.lit(_LN2) * age_hours / settings.age_half_life_hours
    return aged if likeness is None else aged + settings.similarity_weight * likeness


def heaviest_of(users: DataFrame, identity: Mapping[str, str]) -> DataFrame:
    """The weight of each user's heaviest vector: user_id, heaviest.

    Args:
        users: rows of user_vectors of one day.
        identity: encoder_id and topic_model.
    """
    for name, value in identity.items():
        users = users.where(F.col(name) == value)
    return users.groupBy("user_id").agg(F.max("weight").alias("heaviest"))


def candidates(found: DataFrame, heaviest: DataFrame, articles: DataFrame, read: DataFrame) -> DataFrame:
    """What users with vectors may be shown: user_id, news_id, cosine, and the columns of `articles`.

    A user's likeness to an article is the highest of the cosines of the user's vectors, each times the root
    of its weight over that of the heaviest. By the cosine alone a phrase that stands for one stray click
    would count as much as what the user reads daily.

    Args:
        found: query_id (the user), item_id, score (cosine times the root of the vector's weight): possibly
            several rows a pair, of which the highest counts.
        heaviest: what heaviest_of gives.
        articles: news_id, category, published_at, ctr of the candidates; where they have a story, a feed has
            one article of it, the best.
        read: user_id, news_id: left out.
    """
    pairs = found.groupBy(F.col("query_id").alias("user_id"), F.col("item_id").alias("news_id")).agg(
        F.max("score").alias("counted")
    )
    # Weights of 0 all around: then likeness says nothing.
    likeness = F.coalesce(F.try_divide(F.col("counted").cast("double"), F.sqrt("heaviest")), F.lit(0.0)).cast(
        "float"
    )
    pairs = pairs.join(heaviest, on="user_id", how="inner").select(
        "user_id", "news_id", likeness.alias("cosine")
    )
    unread = pairs.join(read, on=["user_id", "news_id"], how="left_anti")
    return unread.join(F.broadcast(articles), on="news_id", how="inner")


def ranked(scored: DataFrame, size: int) -> DataFrame:
    """The feeds of users with vectors: user_id, rank, news_id, cosine, ctr, score, reason.

    Args:
        scored: what `candidates` gives, with score.
        size: articles of a feed.
    """
    return _first(scored, F.lit(VECTORS), [F.col("score").desc()], size)


def without_vectors(
    users: DataFrame,
    articles: DataFrame,
    read: DataFrame,
    clicked: DataFrame,
    settings: FormulaOptions,
    hour: datetime,
    size: int,
) -> DataFrame:
    """The feeds of users without vectors: popular in the categories that they click most, then popular with
    all.

    Args:
        users: user_id.
        articles: as of `ranked`.
        read: user_id, news_id: left out.
        clicked: user_id, category of each click.
        settings: how to rank.
        hour: UTC.
        size: articles of a feed.

    Returns:
        As `ranked`; cosine is NULL.
    """
    scored = articles.withColumn("score", score(settings, hour, None))
    best = [F.col("score").desc(), F.col("news_id")]
    # Enough of each list that what a user has read hardly shortens the feed.
    enough = 3 * size
    in_category = scored.withColumn(
        "place", F.row_number().over(Window.partitionBy("category").orderBy(*best))
    )
    in_category = in_category.where((F.col("place") <= enough) & F.col("category").isNotNull()).drop("place")
    overall = scored.orderBy(*best).limit(enough)
    favourites = favourite_categories(clicked.join(users, on="user_id", how="left_semi"))
    own = favourites.join(F.broadcast(in_category), on="category", how="inner").withColumn("own", F.lit(True))
    all_users = users.crossJoin(F.broadcast(overall)).withColumn("own", F.lit(False))
    told = [name for name in ("story",) if name in articles.columns]
    columns = ["user_id", "news_id", "ctr", "score", "own", *told]
    offered = (
        own.select(*columns)
        .union(all_users.select(*columns))
        .join(read, on=["user_id", "news_id"], how="left_anti")
    )
    once = offered.groupBy("user_id", "news_id").agg(
        F.max("own").alias("own"), *(F.first(name).alias(name) for name in ("ctr", "score", *told))
    )
    rows = once.withColumn("cosine", F.lit(None).cast("float"))
    reason = F.when(F.col("own"), CATEGORIES).otherwise(POPULAR)
    return _first(rows, reason, [F.col("own").desc(), F.col("score").desc()], size)


def favourite_categories(clicked: DataFrame) -> DataFrame:
    """The categories that each user clicks most, at most three, ties by name: user_id, category."""
    counted = (
        clicked.where(F.col("category").isNotNull())
        .groupBy("user_id", "category")
        .agg(F.count("*").alias("clicks"))
    )
    order = Window.partitionBy("user_id").orderBy(F.col("clicks").desc(), "category")
    return (
        counted.withColumn("place", F.row_number().over(order))
        .where(F.col("place") <= _CATEGORIES_OF_A_USER)
        .select("user_id", "category")
    )


def _first(rows: DataFrame, reason: Column, order: list[Column], size: int) -> DataFrame:
    order = [*order, F.col("news_id")]
    rows, place = one_of_each(rows, "user_id", order), Window.partitionBy("user_id").orderBy(*order)
    rows = rows.withColumn("rank", F.row_number().over(place)).where(F.col("rank") <= size)
    return rows.select("user_id", "rank", "news_id", "cosine", "ctr", "score", reason.alias("reason"))
