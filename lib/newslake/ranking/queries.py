"""Candidates with all that was known of them at a moment, a row for each reader and moment: what features are
computed from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.ranking.ctr import hours_between_columns
from newslake.ranking.features import RATES
from newslake.ranking.known import day_of, exposures, histories, profiles

KEYS = ["query", "user_id", "hour"]
MAX_HISTORY = 50
"""Latest articles of a history that features look at."""


@dataclass(frozen=True)
class Known:
    """Frames of what is known. Rows of any time may be in them: each candidate sees what was strictly before
    its hour.

    Attributes:
        articles: what `known.numbered` gives.
        impressions: rows of the table: user_id, news_id, occurred_at.
        read: what `known.reading` gives.
        rates: hour, news_id, and RATES, of the candidates at their hours.
        profile_rows: id (the user), as_of, row, weight of the users' vectors.
        days: the days that profile_rows has.
    """

    articles: DataFrame
    impressions: DataFrame
    read: DataFrame
    rates: DataFrame
    profile_rows: DataFrame
    days: Sequence[date]


def queries_of(pairs: DataFrame, known: Known, passing: Sequence[str]) -> DataFrame:
    """A row for each query: query, user_id, hour, candidates, history (oldest first), history_length,
    profile.

    Args:
        pairs: query (a reader at a moment), user_id, hour, news_id, and the columns in `passing`; no article
            twice in a query. Those without a row in news are left out.
        known: see there.
        passing: columns of a candidate to hand on.
    """
    rows = pairs.join(known.articles, on="news_id", how="inner").join(
        known.rates, on=["hour", "news_id"], how="left"
    )
    rows = rows.join(exposures(known.impressions), on=["user_id", "news_id"], how="left")
    before = F.size(F.filter("shown_at", lambda at: at < F.col("hour")))
    own = {"age_hours": _age(), "exposures": F.when(F.col("shown_at").isNull(), F.lit(0)).otherwise(before)}
    candidate = F.struct(
        "news_id",
        *(name for name in passing if name != "news_id"),
        *(F.coalesce(name, F.lit(0.0)).cast("float").alias(name) for name in RATES),
        *(value.cast("float").alias(name) for name, value in own.items()),
        *("embedding", "vector", "category", "subcategory", "recommended"),
    )
    found = rows.groupBy(*KEYS).agg(F.sort_array(F.collect_list(candidate)).alias("candidates"))
    found = found.join(histories(known.read, known.articles), on="user_id", how="left")
    found = found.withColumn("as_of", day_of(F.col("hour"), known.days))
    found = found.join(profiles(known.profile_rows), on=["user_id", "as_of"], how="left")
    return found.withColumn("past", _before_hour("reading")).select(
        *KEYS,
        "candidates",
        _latest("past").alias("history"),
        F.coalesce(F.size("past"), F.lit(0)).alias("history_length"),
        "profile",
    )


def unread(pairs: DataFrame, read: DataFrame) -> DataFrame:
    """The pairs (user_id, hour, news_id and others) whose article the user had not read before the hour."""
    since = read.select("user_id", "news_id", "known_at")
    same = ["user_id", "news_id"]
    earlier = (
        pairs.join(since, on=same, how="inner")
        .where(F.col("known_at") < F.col("hour"))
        .select("user_id", "hour", "news_id")
        .distinct()
    )
    return pairs.join(earlier, on=["user_id", "hour", "news_id"], how="left_anti")


def _age() -> Column:
    return hours_between_columns(F.col("published_at"), F.col("hour"))


def _before_hour(reading: str) -> Column:
    entry = "known_at:timestamp,place:int,news_id:string,embedding:int,category:bigint,subcategory:bigint"
    nothing = F.array().cast(f"array<struct<{entry},recommended:int>>")
    return F.filter(F.coalesce(F.col(reading), nothing), lambda entry: entry["known_at"] < F.col("hour"))


def _latest(past: str) -> Column:
    start = F.greatest(F.size(past) - MAX_HISTORY, F.lit(0)) + 1
    return F.slice(past, start, F.lit(MAX_HISTORY))
