"""The readers' side: reuse of tag phrases over the days, and one reader's newsfeed beside what it is made
from."""

from dataclasses import dataclass
from datetime import date, datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse

_DAYS = 42  # bars that fit beside each other
_SHOWN, _TAGS, _READ = 10, 14, 6


@dataclass(frozen=True)
class ReuseDay:
    """Tag phrases of a day by where their vectors come from."""

    day: date
    encoded: int
    similar: int
    same: int

    @property
    def phrases(self) -> int:
        """All phrases of the day."""
        return self.encoded + self.similar + self.same

    @property
    def share(self) -> float:
        """Share of the phrases that took a stored vector, 0 to 1."""
        return (self.similar + self.same) / self.phrases if self.phrases else 0.0


@dataclass(frozen=True)
class Reuse:
    """Reuse over the days, oldest first, for one encoder."""

    days: list[ReuseDay]
    encoder_id: str
    most: int  # phrases of the fullest day

    @property
    def saved(self) -> int:
        """Vectors that were not computed, over the days shown."""
        return sum(day.similar + day.same for day in self.days)


@dataclass(frozen=True)
class FeedItem:
    """One article of the feed."""

    rank: int
    title: str
    category: str
    cosine: float | None
    ctr: float
    reason: str


@dataclass(frozen=True)
class Newsfeed:
    """One reader's feed, and the feeds of the hour by reason."""

    hour: datetime
    user_id: str
    chosen: bool  # by --user
    items: list[FeedItem]
    length: int
    tags: list[tuple[str, float]]  # heaviest first; the weight as a share of the heaviest
    clicked: list[tuple[str, str]]  # title, category; latest first
    readers: int
    reasons: list[tuple[str, int, float]]  # reason, places in all feeds, share


def reuse_by_day(matches: DataFrame) -> DataFrame:
    """as_of, encoder_id, encoded, similar, same: phrases by where the vector comes from; the latest days
    first."""
    reused = F.col("decision") == "reused"
    same = F.col("source_id") == F.col("phrase_id")
    return (
        matches.groupBy("as_of", "encoder_id")
        .agg(
            F.count_if(~reused).alias("encoded"),
            F.count_if(reused & ~same).alias("similar"),
            F.count_if(reused & same).alias("same"),
        )
        .orderBy(F.desc("as_of"), "encoder_id")
    )


def gather_reuse(lake: Lakehouse) -> Reuse | None:
    """Reuse over the latest days, by the encoder of the latest day; None where there is no day."""
    rows = reuse_by_day(lake.read("tag_phrase_matches")).limit(4 * _DAYS).collect()
    if not rows:
        return None
    encoder = rows[0]["encoder_id"]
    days = [
        ReuseDay(row["as_of"], row["encoded"], row["similar"], row["same"])
        for row in rows
        if row["encoder_id"] == encoder
    ][:_DAYS]
    return Reuse(days[::-1], encoder, max(day.phrases for day in days))


def example_reader(feed: DataFrame, clicks: DataFrame | None) -> Row | None:
    """The reader of an hour's feeds with the most articles by own vectors, then the most clicks, then by
    user_id.

    Args:
        feed: rows of newsfeed of one hour.
        clicks: user_id of each click, if clicks are known.
    """
    by_reader = feed.groupBy("user_id").agg(F.count_if(F.col("reason") == "vectors").alias("own"))
    if clicks is not None:
        counted = clicks.groupBy("user_id").agg(F.count("*").alias("clicks"))
        by_reader = by_reader.join(counted, on="user_id", how="left")
    else:
        by_reader = by_reader.withColumn("clicks", F.lit(0))
    return by_reader.orderBy(F.desc("own"), F.desc_nulls_last("clicks"), "user_id").head()


def gather_newsfeed(lake: Lakehouse, user: str | None = None) -> Newsfeed | None:
    """One reader's feed of the latest hour; None where there is none.

    Raises:
        UserError: the reader that was asked for has no feed in that hour.
    """
    whole = lake.read("newsfeed")
    found = whole.agg(F.max("hour")).head()
    if found is None or found[0] is None:
        return None
    hour = found[0]
    feed = whole.where(F.col("hour") == F.lit(hour))
    clicks = (
        lake.read("impressions").where(F.col("clicked")).select("user_id")
        if lake.exists("impressions")
        else None
    )
    best = example_reader(feed if user is None else feed.where(F.col("user_id") == user), clicks)
    if best is None:
        raise UserError(f"--user {user}: no newsfeed of {hour:%Y-%m-%dT%H} is for that user")
    reader = best["user_id"]
    titles = lake.read("news").select("news_id", "title", "category")
    own = feed.where(F.col("user_id") == reader)
    items = (
        own.where(F.col("rank") <= _SHOWN).join(titles, on="news_id", how="left").orderBy("rank").collect()
    )
    places = feed.groupBy("reason").agg(F.count("*").alias("n")).orderBy(F.desc("n"), "reason").collect()
    total = sum(row["n"] for row in places)
    return Newsfeed(
        hour=hour,
        user_id=reader,
        chosen=user is not None,
        items=[
            FeedItem(r["rank"], _title(r), r["category"] or "", r["cosine"], r["ctr"], r["reason"])
            for r in items
        ],
        length=own.count(),
        tags=_tags(lake, reader, hour),
        clicked=_clicked(lake, titles, reader, hour),
        readers=feed.select("user_id").distinct().count(),
        reasons=[(row["reason"], row["n"], row["n"] / total) for row in places],
    )


def _tags(lake: Lakehouse, reader: str, hour: datetime) -> list[tuple[str, float]]:
    if not lake.exists("user_tags"):
        return []
    rows = lake.read("user_tags").where((F.col("user_id") == reader) & (F.col("as_of") <= F.lit(hour.date())))
    heaviest = rows.orderBy(F.desc("as_of"), F.desc("weight"), "tag").limit(_TAGS).collect()
    latest = [row for row in heaviest if row["as_of"] == heaviest[0]["as_of"]]
    return [(row["tag"], row["weight"] / latest[0]["weight"]) for row in latest]


def _clicked(lake: Lakehouse, titles: DataFrame, reader: str, hour: datetime) -> list[tuple[str, str]]:
    """What the reader clicked last before the hour, latest first; title and category.

    Clicks in impressions have a time. What the latest history that came with the files holds was clicked, in
    its order, before the first impression with this very history.
    """
    order: list[Row] = []
    known_at, history = _history(lake, reader, hour)
    if lake.exists("impressions"):
        shown = lake.read("impressions").where(
            (F.col("user_id") == reader) & F.col("clicked") & (F.col("occurred_at") < F.lit(hour))
        )
        last = shown.groupBy("news_id").agg(F.max("occurred_at").alias("at")).orderBy(F.desc("at"), "news_id")
        order = last.limit(2 * _READ).collect()
    since = [row["news_id"] for row in order if known_at is None or row["at"] >= known_at]
    before = [row["news_id"] for row in order if row["news_id"] not in since]
    latest = list(dict.fromkeys([*since, *history, *before]))[:_READ]
    rows = {row["news_id"]: row for row in titles.where(F.col("news_id").isin(latest)).collect()}
    unknown = Row("news_id", "title", "category")
    found = [rows.get(news_id, unknown(news_id, None, None)) for news_id in latest]
    return [(_title(row), row["category"] or "") for row in found]


def _history(lake: Lakehouse, reader: str, hour: datetime) -> tuple[datetime | None, list[str]]:
    """The end of the reader's latest history before the hour, latest first, and when it was first seen; None
    where there is none."""
    if not lake.exists("click_history"):
        return None, []
    earlier = lake.read("click_history").where(
        (F.col("user_id") == reader) & (F.col("occurred_at") < F.lit(hour))
    )
    times = F.max(F.struct("occurred_at", "impression_id")).alias("last"), F.min("occurred_at").alias("first")
    same = earlier.groupBy("news_ids").agg(*times)
    end = F.slice(F.reverse("news_ids"), 1, 2 * _READ).alias("end")
    last = same.orderBy(F.desc("last")).select("first", end).head()
    return (None, []) if last is None else (last["first"], list(last["end"]))


def _title(row: Row) -> str:
    if row["title"] is None:
        return f"{row['news_id']} (no longer in table news)"
    return row["title"] or f"{row['news_id']} (without a title)"
