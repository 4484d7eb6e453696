"""What newsfeeds are like hour by hour; and what readers did with those they were shown, beside what was
estimated."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import Frames

_DAYS = 14  # of feeds, before the latest
_FIRST = 10  # ranks that are told one by one
_HOURS, _MODELS, _BINS = 24, 8, 10


@dataclass(frozen=True)
class Rate:
    """Articles shown that have something in common.

    Attributes:
        name: what that is.
        shown: how many.
        happened: share of them that was clicked.
        estimated: mean of the estimates, of those that have one; None where none has.
    """

    name: str
    shown: int
    happened: float
    estimated: float | None


@dataclass(frozen=True)
class Online:
    """The last days' feeds as they were shown.

    Attributes:
        since, until: first and last hour of these feeds.
        shown: articles shown out of them.
        without_estimate: of these, such as stand in no newsfeed of that hour and reader.
        ranks, models, hours: rates by each; hours latest first.
        bins: rates by tenths of the estimate, lowest first.
        error: mean distance between estimated and happened over the bins, by articles (expected calibration
            error; Naeini et al., AAAI 2015); None where nothing was estimated.
        highest: the highest rate of all bins and ranks, for the charts.
    """

    since: datetime
    until: datetime
    shown: int
    without_estimate: int
    ranks: list[Rate]
    models: list[Rate]
    hours: list[Rate]
    bins: list[Rate]
    error: float | None
    highest: float


def shown_feeds(impressions: DataFrame, newsfeed: DataFrame) -> DataFrame:
    """What was shown out of newsfeeds: feed_hour, rank (the event's, else the newsfeed's), model, estimated
    (or NULL), clicked.

    Args:
        impressions: rows of the table; those without a feed_hour, or of which nobody knows whether they were
            clicked, are left out.
        newsfeed: rows of the table.
    """
    fed = newsfeed.select(
        F.col("hour").alias("feed_hour"), "user_id", "news_id", F.col("rank").alias("feed_rank"), "ctr"
    )
    rows = impressions.where(F.col("feed_hour").isNotNull() & F.col("clicked").isNotNull())
    rows = rows.join(fed, on=["feed_hour", "user_id", "news_id"], how="left")
    return rows.select(
        "feed_hour",
        F.coalesce("rank", "feed_rank").alias("rank"),
        "model",
        F.col("ctr").alias("estimated"),
        "clicked",
    )


def rates(shown: DataFrame, *by: Column) -> DataFrame:
    """Columns `by`, and shown, happened, estimated, lacking (how many have no estimate).

    Args:
        shown: from shown_feeds.
        by: named columns.
    """
    return shown.groupBy(*by).agg(
        F.count("*").alias("shown"),
        F.avg(F.col("clicked").cast("int")).alias("happened"),
        F.avg("estimated").alias("estimated"),
        F.count_if(F.col("estimated").isNull()).alias("lacking"),
    )


def bins(shown: DataFrame, cuts: list[float]) -> DataFrame:
    """Rates of what has an estimate, by `bin`: how many of the cuts lie below it."""
    below = (
        F.size(F.filter(F.array(*map(F.lit, cuts)), lambda cut: cut < F.col("estimated")))
        if cuts
        else F.lit(0)
    )
    return rates(shown.where(F.col("estimated").isNotNull()), below.alias("bin")).orderBy("bin")


def gather_online(lake: Lakehouse) -> Online | None:
    """The feeds of the last days as they were shown; None where no event said that it shows one."""
    told = lake.read("impressions").where(F.col("feed_hour").isNotNull() & F.col("clicked").isNotNull())
    last = told.agg(F.max("feed_hour")).head()
    if last is None or last[0] is None:
        return None
    since = last[0] - timedelta(days=_DAYS)
    feeds = lake.read("newsfeed").where(F.col("hour") > F.lit(since))
    with Frames() as frames:
        shown = frames.keep(shown_feeds(told.where(F.col("feed_hour") > F.lit(since)), feeds))
        # Of _DAYS days at most.
        hours = rates(shown, F.col("feed_hour")).orderBy(F.desc("feed_hour")).collect()
        models = rates(shown, F.col("model")).orderBy(F.desc("shown"), "model").limit(_MODELS).collect()
        place = F.least("rank", F.lit(_FIRST + 1)).alias("rank")
        ranks = rates(shown.where(F.col("rank").isNotNull()), place).orderBy("rank").collect()
        tenths = F.percentile_approx("estimated", [place / _BINS for place in range(1, _BINS)]).alias("cuts")
        found = shown.agg(tenths).head()
        cuts = sorted(set((found["cuts"] if found is not None else None) or []))
        binned = bins(shown, cuts).collect()
    by_bin = [_rate(f"{100 * row['estimated']:.1f} % estimated", row) for row in binned]
    counted = sum(row["shown"] for row in binned)
    by_rank = [
        _rate(f"{row['rank']}" if row["rank"] <= _FIRST else f"{_FIRST + 1} and on", row) for row in ranks
    ]
    return Online(
        since=hours[-1]["feed_hour"],
        until=hours[0]["feed_hour"],
        shown=sum(row["shown"] for row in hours),
        without_estimate=sum(row["lacking"] for row in hours),
        ranks=by_rank,
        models=[_rate(row["model"] or "not told", row) for row in models],
        hours=[_rate(f"{row['feed_hour']:%d %b %H:00}", row) for row in hours[:_HOURS]],
        bins=by_bin,
        error=sum(abs(row["estimated"] - row["happened"]) * row["shown"] for row in binned) / counted
        if counted
        else None,
        highest=max([1e-9, *(max(rate.happened, rate.estimated or 0.0) for rate in (*by_rank, *by_bin))]),
    )


def _rate(name: str, row: Row) -> Rate:
    return Rate(name, row["shown"], row["happened"], row["estimated"])


@dataclass(frozen=True)
class FeedHour:
    """What the newsfeeds of an hour are like: the columns of table feed_quality."""

    hour: datetime
    readers: int
    coverage: float
    new_share: float
    novelty: float
    intra_list_diversity: float | None
    miscalibration: float | None
    diversity: float


def gather_quality(lake: Lakehouse) -> list[FeedHour] | None:
    """The last hours' newsfeeds, latest first; None where there is none."""
    names = [field.name for field in fields(FeedHour)]
    rows = lake.read("feed_quality").select(*names).orderBy(F.desc("hour")).limit(_HOURS).collect()
    return [FeedHour(**row.asDict()) for row in rows] or None
