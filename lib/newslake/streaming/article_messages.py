"""Messages of the article stream -> rows of news, and which version of an article stays.

The messages are documented in docs/messages/article.schema.json.
"""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.horizon import is_old
from newslake.mind.news import content_hash
from newslake.streaming.fields import Field, also, parsed

ENTITIES = (
    "ARRAY<STRUCT<field: STRING, label: STRING, type: STRING, wikidata_id: STRING, confidence: DOUBLE, "
    "occurrence_offsets: ARRAY<INT>, surface_forms: ARRAY<STRING>>>"
)
_MEMBERS = (
    *((name, "string") for name in ("field", "label", "type", "wikidata_id")),
    ("confidence", "number"),
    ("occurrence_offsets", "integers"),
    ("surface_forms", "strings"),
)
FIELDS = (
    Field("news_id", required=True),
    Field("category"),
    Field("subcategory"),
    Field("title", required=True, may_be_empty=True),
    Field("abstract"),
    Field("body"),
    Field("url"),
    Field("entities", "objects", ddl=ENTITIES, members=_MEMBERS),
    Field("published_at", "time", required=True),
    Field("updated_at", "time"),
)
_COLUMNS = (*(field.name for field in FIELDS), "content_hash")
# What a message need not repeat: where the newest version leaves it out, an older one's stands. The text is never mixed.
_DESCRIBES = ("category", "subcategory", "url", "entities")


def read_articles(messages: DataFrame, older_than: int | None = None) -> DataFrame:
    """Read the messages.

    Args:
        messages: what Source.messages gives.
        older_than: articles published more than so many days ago are refused; None: none are.

    Returns:
        ARRIVAL, the columns of news, and problem: why a message cannot be used, or NULL. updated_at is published_at where the
        message has none.
    """
    rows = parsed(messages, FIELDS)
    if older_than is not None:
        old = F.col("published_at") < F.current_timestamp() - F.expr(f"INTERVAL {int(older_than)} DAYS")
        rows = also(rows, F.when(old, f"published more than {int(older_than)} days ago"))
    return rows.withColumn("updated_at", F.coalesce("updated_at", "published_at")).withColumn("content_hash", content_hash())


def refuse_purged(rows: DataFrame, before: date | None) -> DataFrame:
    """Refuse articles that the latest purge would have removed; `before` is its horizon, None where there was none."""
    if before is None:
        return rows
    return also(rows, F.when(is_old(F.col("published_at"), before), f"published before the purge horizon {before}"))


def newest(usable: DataFrame) -> DataFrame:
    """One row for each article among the messages: the newest version, by updated_at, then content_hash.

    Of equal versions the one that arrived first stands. What the newest leaves out of category, subcategory, url and entities comes
    from the newest that has it.

    Args:
        usable: rows of read_articles without a problem.
    """
    first = (F.negative(F.unix_micros("arrived_at")), F.negative(F.coalesce("place", F.lit(0))), F.sha2("raw", 256))
    order = F.struct("updated_at", "content_hash", *(part.alias(f"p{i}") for i, part in enumerate(first)))
    filled = [F.max_by(name, F.when(F.col(name).isNotNull(), order)).alias(f"any_{name}") for name in _DESCRIBES]
    others = [name for name in _COLUMNS if name != "news_id"]
    found = usable.groupBy("news_id").agg(F.max_by(F.struct(*others), order).alias("best"), *filled)
    return found.select(
        "news_id", *(F.col(f"any_{name}" if name in _DESCRIBES else f"best.{name}").alias(name) for name in _COLUMNS if name != "news_id")
    )


def settled(arrived: DataFrame, stored: DataFrame) -> DataFrame:
    """What news should hold of the articles that arrived: the newer of what came and what is there.

    A row of MIND's files has no updated_at, and so is older than every message.

    Args:
        arrived: from `newest`.
        stored: rows of news; none but those of the same articles are looked at.
    """
    others = [name for name in _COLUMNS if name != "news_id"]
    old = stored.select("news_id", F.struct(*others).alias("old")).join(
        F.broadcast(arrived.select("news_id")), on="news_id", how="left_semi"
    )
    rows = arrived.select("news_id", F.struct(*others).alias("new")).join(old, on="news_id", how="left")
    newer = F.col("old").isNull() | (_version("old") < _version("new"))

    def column(name: str) -> Column:
        ours, theirs = F.col(f"new.{name}"), F.col(f"old.{name}")
        if name in _DESCRIBES:
            return F.when(newer, F.coalesce(ours, theirs)).otherwise(F.coalesce(theirs, ours)).alias(name)
        return F.when(newer, ours).otherwise(theirs).alias(name)

    return rows.select("news_id", *map(column, others))


def _version(side: str) -> Column:
    # Structs compare member by member, NULL before everything else.
    return F.struct(F.col(f"{side}.updated_at").alias("updated_at"), F.col(f"{side}.content_hash").alias("content_hash"))
