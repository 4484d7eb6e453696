"""Messages of the article stream -> rows of news, and which version of an article among them stays.

The messages are documented in docs/messages/article.schema.json.
"""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.intake.articles import DESCRIBES, NEWS, content_hash
from newslake.intake.sources.events.fields import Field, also, parsed
from newslake.switches.horizon import is_old

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


def read_articles(messages: DataFrame, older_than: int | None = None) -> DataFrame:
    """Read the messages.

    Args:
        messages: what Source.messages gives.
        older_than: articles published more than so many days ago are refused; None: none are.

    Returns:
        ARRIVAL, the columns of news, and problem: why a message cannot be used, or NULL. updated_at is
            published_at where the
        message has none.
    """
    rows = parsed(messages, FIELDS)
    if older_than is not None:
        old = F.col("published_at") < F.current_timestamp() - F.expr(f"INTERVAL {int(older_than)} DAYS")
        rows = also(rows, F.when(old, f"published more than {int(older_than)} days ago"))
    return rows.withColumn("updated_at", F.coalesce("updated_at", "published_at")).withColumn(
        "content_hash", content_hash()
    )


def refuse_purged(rows: DataFrame, before: date | None) -> DataFrame:
    """Refuse articles that the latest purge would have removed; `before` is its horizon, None where there was
    none."""
    if before is None:
        return rows
    return also(
        rows, F.when(is_old(F.col("published_at"), before), f"published before the purge horizon {before}")
    )


def newest(usable: DataFrame) -> DataFrame:
    """One row for each article among the messages: the newest version, by updated_at, then content_hash.

    Of equal versions the one that arrived first stands. What the newest leaves out of category, subcategory,
    url and entities comes from the newest that has it.

    Args:
        usable: rows of read_articles without a problem.
    """
    first = (
        F.negative(F.unix_micros("arrived_at")),
        F.negative(F.coalesce("place", F.lit(0))),
        F.sha2("raw", 256),
    )
    order = F.struct("updated_at", "content_hash", *(part.alias(f"p{i}") for i, part in enumerate(first)))
    filled = [
        F.max_by(name, F.when(F.col(name).isNotNull(), order)).alias(f"any_{name}") for name in DESCRIBES
    ]
    others = [name for name in NEWS if name != "news_id"]
    found = usable.groupBy("news_id").agg(F.max_by(F.struct(*others), order).alias("best"), *filled)
    return found.select(
        "news_id",
        *(
            F.col(f"any_{name}" if name in DESCRIBES else f"best.{name}").alias(name)
            for name in NEWS
            if name != "news_id"
        ),
    )
