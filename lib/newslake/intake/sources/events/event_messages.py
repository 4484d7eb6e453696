"""Messages of the behaviour stream -> rows of impressions, clicks, search_queries and user_interests.

The messages are documented in docs/messages/event.schema.json.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.intake.sources.events.fields import ARRIVAL, Field, also, parsed

IMPRESSION, CLICK, SEARCH, INTEREST = "impression", "click", "search", "interest"
FIELDS = (
    Field("type", required=True),
    Field("event_id", required=True),
    Field("user_id", required=True),
    Field("occurred_at", "time", required=True),
    Field("news_ids", "strings"),
    Field("impression_id"),
    Field("news_id"),
    Field("query"),
    Field("interest"),
    Field("weight", "number"),
    Field("feed_hour", "time"),
    Field("rank", "number"),
    Field("model"),
)
NEEDS: dict[str, tuple[str, ...]] = {
    IMPRESSION: ("news_ids",),
    CLICK: ("impression_id", "news_id"),
    SEARCH: ("query",),
    INTEREST: ("interest",),
}
"""What an event of each type must have besides type, event_id, user_id and occurred_at."""

TABLE_OF = {IMPRESSION: "impressions", CLICK: "clicks", SEARCH: "search_queries", INTEREST: "user_interests"}
FROM_FEED = ("feed_hour", "rank", "model")
"""Columns of impressions that say out of which newsfeed an article was shown; the event may leave them
out."""
_LAST_RANK = 1_000_000
USE, DUPLICATE, CONFLICT = "use", "duplicate", "conflict"
CONFLICT_REASON = "another event of this id arrived before, and says something else"


def read_events(messages: DataFrame) -> DataFrame:
    """Read the messages.

    Args:
        messages: what Source.messages gives.

    Returns:
        ARRIVAL, a column for each field, and problem: why a message cannot be used, or NULL.
    """
    kind = F.col("type")
    unknown = F.when(
        ~kind.isin(*NEEDS), F.concat(F.lit("unknown type of event; there are: "), F.lit(", ".join(NEEDS)))
    )
    missing = [
        F.when((kind == name) & _missing(needed), f"no {needed}")
        for name, all_needed in NEEDS.items()
        for needed in all_needed
    ]
    weight = F.coalesce("weight", F.lit(1.0))
    unusable = F.when(
        (kind == INTEREST) & ~weight.between(0.0, 1.0), "weight is not a number between 0 and 1"
    )
    odd_hour = F.when(
        (kind == IMPRESSION) & (F.col("feed_hour") != F.date_trunc("hour", "feed_hour")),
        "feed_hour is not a whole hour",
    )
    rank = F.col("rank")
    odd = (kind == IMPRESSION) & ~(rank.between(1, _LAST_RANK) & (rank == F.floor(rank)))
    odd_rank = F.when(odd, f"rank is not a whole number from 1 to {_LAST_RANK:,}")
    return also(parsed(messages, FIELDS), unknown, *missing, unusable, odd_hour, odd_rank)


def of_type(usable: DataFrame, kind: str) -> DataFrame:
    """The events of one type, one row each.

    Args:
        usable: rows of read_events without a problem.
        kind: the type.

    Returns:
        ARRIVAL, event_id, and the columns of the type's table; of an impression: impression_id, user_id,
            occurred_at, news_ids,
        feed_hour, rank (of the first article), model.
    """
    rows = usable.where(F.col("type") == kind)
    arrived = F.col("arrived_at").alias("ingested_at")
    columns: dict[str, list[Column]] = {
        IMPRESSION: [
            F.col("event_id").alias("impression_id"),
            F.col("user_id"),
            F.col("occurred_at"),
            F.col("news_ids"),
            *_feed(),
        ],
        CLICK: [
            F.col("event_id").alias("click_id"),
            F.col("impression_id"),
            F.col("user_id"),
            F.col("news_id"),
            F.col("occurred_at").alias("clicked_at"),
            arrived,
        ],
        SEARCH: [
            F.col("event_id").alias("query_id"),
            F.col("user_id"),
            F.col("query"),
            F.col("occurred_at").alias("searched_at"),
            arrived,
        ],
        INTEREST: [
            F.col("user_id"),
            F.col("interest"),
            F.col("occurred_at").alias("stated_at"),
            F.coalesce("weight", F.lit(1.0)).alias("weight"),
            arrived,
        ],
    }
    return rows.select(*ARRIVAL, "event_id", *columns[kind])


def first_of_each(events: DataFrame, stored: DataFrame, key: tuple[str, ...]) -> DataFrame:
    """Decide between events of one key: the first that arrived stands, and what the table holds arrived
    before.

    Args:
        events: what of_type gives, of one type.
        stored: rows of the table with the same keys: the columns that `events` has too.
        key: which columns name an event.

    Returns:
        The events with outcome: use; duplicate, where it says the same again; conflict, where it says
            something else.
    """
    says = [name for name in events.columns if name not in (*ARRIVAL, *key, "event_id", "ingested_at")]
    said = F.to_json(F.struct(*says)) if says else F.lit("")
    known = stored.select(*key, said.alias("stored_says"))
    rows = events.withColumn("says", said).join(known, on=list(key), how="left")
    order = Window.partitionBy(*key).orderBy("arrived_at", "source", "place", F.sha2("raw", 256))
    stands = F.coalesce("stored_says", F.first("says").over(order))
    is_first = F.col("stored_says").isNull() & (F.row_number().over(order) == 1)
    outcome = F.when(is_first, USE).when(F.col("says") == stands, DUPLICATE).otherwise(CONFLICT)
    return rows.withColumn("outcome", outcome).drop("says", "stored_says")


def shown(impressions: DataFrame, split: str) -> DataFrame:
    """Impressions as rows of table impressions, nothing clicked yet.

    Args:
        impressions: from of_type.
        split: where live events go.
    """
    rows = impressions.select(
        F.lit(split).alias("split"),
        "impression_id",
        F.posexplode("news_ids").alias("position", "news_id"),
        "user_id",
        "occurred_at",
        F.col("arrived_at").alias("ingested_at"),
        F.lit(False).alias("clicked"),
        "feed_hour",
        F.col("rank").alias("first_rank"),
        "model",
    )
    return rows.withColumn("rank", F.col("first_rank") + F.col("position")).drop("first_rank")


def as_events(rows: DataFrame) -> DataFrame:
    """Rows of table impressions as the events that they came from: what of_type gives of an impression,
    without ARRIVAL."""
    listed = F.transform(
        F.sort_array(F.collect_list(F.struct("position", "news_id"))), lambda one: one["news_id"]
    )
    feed = [F.min(name).alias(name) for name in FROM_FEED]
    return rows.groupBy("impression_id", "user_id", "occurred_at").agg(listed.alias("news_ids"), *feed)


def with_clicks(rows: DataFrame, clicks: DataFrame) -> DataFrame:
    """Mark what was clicked.

    A click belongs to the article's first place in the impression of that user. Where it came later than the
    impression, the row's ingested_at becomes the time at which the click arrived, so that who reads by
    arrival meets it; once marked a row stays as it is.

    Args:
        rows: whole impressions, as table impressions has them.
        clicks: rows of table clicks.
    """
    key = ["impression_id", "user_id", "news_id"]
    arrived = clicks.groupBy(*key).agg(F.min("ingested_at").alias("click_at"))
    place = F.row_number().over(Window.partitionBy("split", *key).orderBy("position"))
    marked = rows.withColumn("nth", place).join(arrived, on=key, how="left")
    now = (F.col("nth") == 1) & F.col("click_at").isNotNull() & ~F.coalesce("clicked", F.lit(False))
    return marked.select(
        "split",
        "impression_id",
        "position",
        "user_id",
        "occurred_at",
        F.when(now, F.greatest("ingested_at", "click_at"))
        .otherwise(F.col("ingested_at"))
        .alias("ingested_at"),
        "news_id",
        F.when(now, True).otherwise(F.col("clicked")).alias("clicked"),
        *FROM_FEED,
    )


def _feed() -> list[Column]:
    return [F.col("feed_hour"), F.col("rank").try_cast("int").alias("rank"), F.col("model")]


def _missing(name: str) -> Column:
    value = F.col(name)
    return value.isNull() | ((F.size(value) == 0) if name == "news_ids" else (value == ""))
