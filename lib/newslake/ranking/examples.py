"""What a ranker learns from: past impressions as the feed of their hour would have met them, and articles
that were not shown."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.ranking.queries import unread
from newslake.spark.frames import frame_of
from newslake.training.data.time_splits import Windows

LABEL, SHOWN, PART = "label", "shown", "part"
PASSING = ("news_id", LABEL, SHOWN)


def shown(impressions: DataFrame, windows: Windows) -> DataFrame:
    """The candidates of the windows' impressions that have a click.

    The hour is that in which the impression was shown: what is known of it, as for a feed, is what was known
    at its start. An article that stands in an impression twice counts once.

    Args:
        impressions: rows of the table; those without a label are left out.
        windows: which, and the part that each belongs to.

    Returns:
        query, user_id, hour, news_id, label (1 for a click), shown (true), part.
    """
    rows = impressions.where(windows.chosen() & F.col("clicked").isNotNull()).select(
        F.concat_ws("/", "split", "impression_id").alias("query"),
        "user_id",
        F.date_trunc("hour", "occurred_at").alias("hour"),
        "news_id",
        F.col("clicked").cast("tinyint").alias(LABEL),
        windows.role().alias(PART),
    )
    once = rows.groupBy("query", "user_id", "hour", "news_id", PART).agg(F.max(LABEL).alias(LABEL))
    clicked = F.max(LABEL).over(Window.partitionBy("query"))
    return (
        once.withColumn("clicked", clicked)
        .where("clicked = 1")
        .select("query", "user_id", "hour", "news_id", LABEL, F.lit(True).alias(SHOWN), PART)
    )


def sampled(rows: DataFrame, most: int, counted: dict[str, int], seed: int) -> DataFrame:
    """About `most` queries of each part at most, by a hash of their ids.

    Args:
        rows: what `shown` gives.
        most: queries of a part.
        counted: how many each part has.
        seed: another seed, other queries.
    """
    share = F.coalesce(
        *(F.when(F.col(PART) == name, F.lit(most / many)) for name, many in counted.items() if many > most),
        F.lit(1.0),
    )
    return rows.where(_draw(seed, F.col("query")) < share)


def recent_at(news: DataFrame, hours: Sequence[datetime], days: int) -> DataFrame:
    """The candidates of a feed at each hour: hour, and news_id and category of articles published in the
    `days` before.

    Args:
        news: news_id, category, published_at.
        hours: whole hours.
        days: as rank_newsfeed takes them.
    """
    at = F.broadcast(
        frame_of(
            news.sparkSession,
            [(hour, hour - timedelta(days=days)) for hour in hours],
            "hour timestamp, since timestamp",
        )
    )
    inside = (F.col("published_at") >= F.col("since")) & (F.col("published_at") < F.col("hour"))
    return (
        news.select("news_id", "category", "published_at")
        .join(at, on=inside, how="inner")
        .select("hour", "news_id", "category")
    )


def examples(rows: DataFrame, recent: DataFrame, read: DataFrame, *, unshown: int, seed: int) -> DataFrame:
    """Candidates that a feed of their hour could have had: those shown, and a sample of those that were not.

    A feed chooses among all recent articles; impressions hold those that somebody or something chose to show.
    A ranker that has seen no others knows nothing of what the choice was by, such as age.

    Args:
        rows: what `shown` gives.
        recent: what `recent_at` gives for their hours.
        read: what `known.reading` gives: an article read before the hour is no candidate.
        unshown: articles to draw for each query, with label 0; those that the query has anyway are dropped.
        seed: of the draws.

    Returns:
        query, user_id, hour, news_id, label, shown, part.
    """
    columns = ["query", "user_id", "hour", "news_id", LABEL, SHOWN, PART]
    candidates = rows.join(recent.select("hour", "news_id"), on=["hour", "news_id"], how="left_semi").select(
        *columns
    )
    if unshown:
        pools = recent.groupBy("hour").agg(F.sort_array(F.collect_list("news_id")).alias("pool"))
        queries = (
            rows.select("query", "user_id", "hour", PART)
            .distinct()
            .join(F.broadcast(pools), on="hour", how="inner")
        )
        place = F.transform(F.sequence(F.lit(1), F.lit(unshown)), lambda i: _place(seed, i))
        drawn = queries.select(
            "query", "user_id", "hour", PART, F.explode(F.array_distinct(place)).alias("news_id")
        )
        drawn = drawn.join(rows.select("query", "news_id"), on=["query", "news_id"], how="left_anti")
        drawn = drawn.select("*", F.lit(0).cast("tinyint").alias(LABEL), F.lit(False).alias(SHOWN))
        candidates = candidates.unionByName(drawn.select(*columns))
    return unread(candidates, read)


def _place(seed: int, i: Column) -> Column:
    return F.element_at("pool", (F.pmod(F.xxhash64(F.lit(seed), "query", i), F.size("pool")) + 1).cast("int"))


def _draw(seed: int, key: Column) -> Column:
    """A number from 0 to below 1 by a hash of the key."""
    return F.pmod(F.xxhash64(F.lit(seed), F.lit("sample"), key), F.lit(1 << 30)) / float(1 << 30)
