"""What each kind of check measures: one query over a table, one number, and the finding in words."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.checks.rules import Check
from newslake.lake.lakehouse import Lakehouse
from newslake.reports.online import shown_feeds
from newslake.run.jobrun import LAG, SIGN_OF_LIFE, every_run
from newslake.run.options import whole_hour

_WEEK = 7
_FEEDS_BELOW = 0.05  # the smallest feeds, which feed_rows leaves out


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        value: in the unit of the kind; None where there was nothing to measure.
        told: the finding in words, or why there was nothing.
    """

    value: float | None
    told: str


def measured(lake: Lakehouse, check: Check, at: datetime) -> Measured:
    """Measure one check; its tables are there.

    Args:
        lake: where they live.
        check: what to measure.
        at: the moment that it is measured for, UTC without a zone; what is later does not count.
    """
    return _MEASURES[check.kind](lake, check.settings, at)


def row_ratio(rows: DataFrame, column: str, at: datetime) -> DataFrame:
    """One row: last (rows of the last whole day before `at`), week (those of the seven days before it), since
    (the first of these days with a row), of any table with a time or day in `column`.
    """
    today = datetime(at.year, at.month, at.day)
    last = today - timedelta(days=1)
    when = F.col(column).cast("timestamp")
    there = rows.where((when >= F.lit(last - timedelta(days=_WEEK))) & (when < F.lit(today)))
    is_last = when >= F.lit(last)
    return there.agg(
        F.count_if(is_last).alias("last"),
        F.count_if(~is_last).alias("week"),
        F.min(F.to_date(when)).alias("since"),
    )


def covered(impressions: DataFrame, newsfeed: DataFrame, at: datetime, *, days: int, hours: int) -> DataFrame:
    """One row: readers (who clicked in the last days), fed (of these, with an article in a newsfeed of the
    last hours)."""
    clicked = impressions.where(
        F.col("clicked")
        & (F.col("occurred_at") > F.lit(at - timedelta(days=days)))
        & (F.col("occurred_at") <= at)
    )
    fed = _feeds(newsfeed, at, hours).select("user_id", F.lit(True).alias("fed")).distinct()
    return (
        clicked.select("user_id")
        .distinct()
        .join(fed, on="user_id", how="left")
        .agg(F.count("*").alias("readers"), F.count("fed").alias("fed"))
    )


def _feeds(newsfeed: DataFrame, at: datetime, hours: int) -> DataFrame:
    began = whole_hour(at) - timedelta(hours=hours)
    return newsfeed.where((F.col("hour") >= F.lit(began)) & (F.col("hour") <= F.lit(at)))


def _freshness(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    table, column = settings["table"], settings["column"]
    if column is None:
        newest, what = lake.written_at(table), f"{table} was last written"
    else:
        rows = lake.read(table).where(F.col(column) <= F.lit(at))
        newest = _one(rows.agg(F.max(F.col(column).cast("timestamp"))))[0]
        what = f"newest {column} of {table} is from"
    if newest is None:
        return Measured(
            None,
            (
                f"{table} has no row with a {column}"
                if column
                else f"none of the last commits put a row into {table}"
            ),
        )
    hours = max(0.0, (at - newest).total_seconds() / 3600)
    return Measured(hours, f"{what} {newest:%Y-%m-%d %H:%M} UTC, {hours:.1f} hours ago")


def _row_count(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    table = settings["table"]
    found = _one(row_ratio(lake.read(table), settings["column"], at))
    last = (at - timedelta(days=1)).date()
    if not found["week"]:
        return Measured(None, f"{table} has no row of the week before {last} to compare with")
    # A table that is younger than a week is compared with the days that it has.
    a_day = found["week"] / (last - found["since"]).days
    told = (
        f"{table} has {found['last']:,} rows of {last}, {found['last'] / a_day:.2f} times the mean of the"
        f" days before ({a_day:,.0f})"
    )
    return Measured(found["last"] / a_day, told)


def _quarantine_share(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    job, most = settings["job"], settings["runs"]
    runs = every_run(lake).where(
        (F.col("job") == job) & (F.col("rows_in") > 0) & (F.col("started_at") <= F.lit(at))
    )
    last = runs.orderBy(F.desc("started_at")).limit(most)
    found = _one(
        last.agg(
            F.count("*").alias("runs"),
            F.sum("rows_in").alias("read"),
            F.sum("rows_quarantined").alias("rejected"),
        )
    )
    if not found["runs"]:
        return Measured(None, f"no run of {job} has read anything yet")
    rejected = found["rejected"] or 0
    which = "the last run" if found["runs"] == 1 else f"the last {found['runs']} runs"
    share = rejected / found["read"]
    return Measured(
        share,
        f"{rejected:,} of {found['read']:,} inputs of {which} of {job} are in quarantine"
        f" ({100 * share:.2f} %)",
    )


def _stream_lag(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    job, topic = settings["job"], settings["topic"]
    runs = every_run(lake).where((F.col("job") == job) & (F.col("started_at") <= F.lit(at)))
    if topic is not None:
        runs = runs.where(F.col("settings")["topic"] == topic)
    sign = F.try_to_timestamp(F.col("facts")[SIGN_OF_LIFE])
    # A run that failed was alive until its last look; one that fails at every start never looked, however
    # often it is started.
    alive = F.when(F.col("outcome") == "done", F.col("ended_at")).when(
        F.col("outcome") == "running", F.coalesce(sign, "started_at")
    )
    told = F.struct(
        F.coalesce(alive, sign).alias("alive"), F.col("facts")[LAG].try_cast("double").alias("lag"), "outcome"
    )
    last = _one(
        runs.select(told.alias("last")).where("last.alive IS NOT NULL").agg(F.max("last").alias("last"))
    )["last"]
    whose = job if topic is None else f"{job} of topic {topic}"
    if last is None:
        return Measured(None, f"{whose} has never run")
    silent, waited = max(0.0, (at - last["alive"]).total_seconds() / 60), (last["lag"] or 0.0) / 60
    state = {"running": "runs, or was killed", "done": "has ended"}.get(last["outcome"], "has failed")
    return Measured(
        max(silent, waited),
        f"{whose} {state}: last sign of life {silent:.1f} minutes ago, when the oldest message had waited for"
        f" {waited:.1f} minutes",
    )


def _feed_coverage(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    days, hours = settings["days"], settings["hours"]
    found = _one(covered(lake.read("impressions"), lake.read("newsfeed"), at, days=days, hours=hours))
    if not found["readers"]:
        return Measured(None, f"no reader clicked in the {days} days before")
    share = found["fed"] / found["readers"]
    told = (
        f"{found['fed']:,} of {found['readers']:,} readers who clicked within {days} days have a newsfeed of"
        f" the last {hours} hours"
    )
    return Measured(share, f"{told} ({100 * share:.1f} %)")


def _feed_rows(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    hours = settings["hours"]
    feeds = (
        _feeds(lake.read("newsfeed"), at, hours).groupBy("hour", "user_id").agg(F.count("*").alias("rows"))
    )
    found = _one(
        feeds.agg(F.count("*").alias("feeds"), F.percentile_approx("rows", _FEEDS_BELOW).alias("rows"))
    )
    if not found["feeds"]:
        return Measured(0.0, f"there is no newsfeed of the last {hours} hours")
    return Measured(
        float(found["rows"]),
        f"19 of 20 of the {found['feeds']:,} newsfeeds of the last {hours} hours have {found['rows']}"
        " articles or more",
    )


def _calibration(lake: Lakehouse, settings: Mapping[str, Any], at: datetime) -> Measured:
    since = F.lit(at - timedelta(days=settings["days"]))
    shown = lake.read("impressions").where((F.col("feed_hour") > since) & (F.col("feed_hour") <= F.lit(at)))
    feeds = lake.read("newsfeed").where((F.col("hour") > since) & (F.col("hour") <= F.lit(at)))
    rows = shown_feeds(shown, feeds).where(F.col("estimated").isNotNull())
    means = F.avg("estimated").alias("estimated"), F.avg(F.col("clicked").cast("int")).alias("observed")
    found = _one(rows.agg(F.count("*").alias("shown"), *means))
    if found["shown"] < settings["least_shown"]:
        least = settings["least_shown"]
        return Measured(
            None,
            f"{found['shown']:,} articles were shown out of newsfeeds with an estimate, fewer than"
            f" least_shown ({least:,})",
        )
    ratio = found["estimated"] / found["observed"] if found["observed"] else math.inf
    rates = f"estimated {100 * found['estimated']:.2f} %, clicked {100 * found['observed']:.2f} %"
    return Measured(ratio, f"{rates} of {found['shown']:,} articles shown out of newsfeeds")


def _one(frame: DataFrame) -> Row:
    row = frame.head()
    assert row is not None
    return row


_MEASURES: Mapping[str, Callable[[Lakehouse, Mapping[str, Any], datetime], Measured]] = {
    "freshness": _freshness,
    "row_count": _row_count,
    "quarantine_share": _quarantine_share,
    "stream_lag": _stream_lag,
    "feed_coverage": _feed_coverage,
    "feed_rows": _feed_rows,
    "calibration": _calibration,
}
