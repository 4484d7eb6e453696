"""Rows of the vectors' tables as the items that a store holds."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.serving.stores.store import EXPIRES, HASH, ITEM, VECTOR
from newslake.switches.horizon import UNDATED


def article_items(rows: DataFrame, classes: DataFrame, days: int | None) -> DataFrame:
    """Rows of article_vectors, of one encoder and topic model, as items: item_id, inputs_hash, news_date
    (20191115), category, expires_at.

    An export leaves an article out from the day after its last on; it leaves by itself one day later, so that
    a run over midnight counts the same before and after. One without a date stays.

    Args:
        rows: of the table.
        classes: news_id, category.
        days: how long an article is there after its day; None or 0: for good.
    """
    last = F.date_add("news_date", (days or 0) + 2).cast("timestamp")
    dated = F.col("news_date") != F.lit(UNDATED).cast("date")
    classed = rows.join(classes, on="news_id", how="left")
    items = classed.select(
        F.col("news_id").alias(ITEM),
        HASH,
        F.col("news_date").alias("day"),
        day_number(),
        F.coalesce("category", F.lit("")).alias("category"),
        (F.when(dated, last) if days else F.lit(None).cast("timestamp")).alias(EXPIRES),
    )
    whole = F.concat_ws(" ", HASH, "day", "category", EXPIRES)
    return items.select(ITEM, whole.alias(HASH), "news_date", "category", EXPIRES)


def day_number() -> Column:
    """The article's day as a number, such as 20191115: news_date."""
    return F.date_format("news_date", "yyyyMMdd").cast("int").alias("news_date")


def user_items(rows: DataFrame) -> DataFrame:
    """One day's rows of user_vectors as items: item_id, inputs_hash, user_id, weight, expires_at, vector.

    The day is no part of an item: a vector that is the same on the next day stays where it is.
    """
    weight: Column = F.col("weight").cast("float")
    return rows.select(
        F.concat_ws("/", "user_id", "tag_group", "phrase_id").alias(ITEM),
        F.hex(F.xxhash64("vector", weight)).alias(HASH),
        "user_id",
        weight.alias("weight"),
        F.lit(None).cast("timestamp").alias(EXPIRES),
        F.col("vector").alias(VECTOR),
    )
