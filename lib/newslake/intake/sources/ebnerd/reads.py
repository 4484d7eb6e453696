"""How long and how far users read -> rows of reads."""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

CLICK, PAGE = "click", "page"
_KEY = ("split", "user_id", "news_id", "read_at", "kind")
_SAID = ("read_seconds", "scroll_percentage", "impression_id")


def of_impressions(used: DataFrame) -> DataFrame:
    """Readings that impressions tell of: of the page that showed one, where it is an article's, and of the
    article that was clicked.

    Where several were clicked nothing says which of them was read for so long.

    Args:
        used: rows of behaviors.parse_rows without a problem.
    """
    page = used.where(F.col("page").isNotNull())
    pages = _reading(
        page, PAGE, F.col("page"), F.col("occurred_at"), F.col("page_seconds"), F.col("page_scrolled")
    )
    told = F.col("next_seconds").isNotNull() | F.col("next_scrolled").isNotNull()
    click = used.where((F.size("clicked") == 1) & told)
    article = F.get("clicked", F.lit(0))
    clicks = _reading(
        click,
        CLICK,
        article,
        F.col("occurred_at"),
        F.col("next_seconds"),
        F.col("next_scrolled"),
        F.col("impression_id"),
    )
    return pages.unionByName(clicks)


def of_histories(histories: DataFrame) -> DataFrame:
    """Readings that histories tell of.

    Args:
        histories: of history.histories.
    """
    rows = histories.select("split", "user_id", "arrived_at", F.explode("entries").alias("one"))
    return _reading(
        rows, PAGE, F.col("one.news_id"), F.col("one.at"), F.col("one.seconds"), F.col("one.scrolled")
    )


def one_of_each(*readings: DataFrame) -> DataFrame:
    """All of them, as table reads wants them: what two files tell of one reading is one row, the longer where
    they differ."""
    rows = reduce(DataFrame.unionByName, readings)
    said = F.max(F.struct(*_SAID)).alias("said")
    found = rows.groupBy(*_KEY).agg(said, F.min("ingested_at").alias("ingested_at"))
    return found.select(*_KEY, *(F.col(f"said.{name}").alias(name) for name in _SAID), "ingested_at")


def _reading(
    rows: DataFrame,
    kind: str,
    news_id: Column,
    at: Column,
    seconds: Column,
    scrolled: Column,
    impression_id: Column | None = None,
) -> DataFrame:
    return rows.select(
        "split",
        "user_id",
        news_id.alias("news_id"),
        at.alias("read_at"),
        F.lit(kind).alias("kind"),
        (F.lit(None).cast("string") if impression_id is None else impression_id).alias("impression_id"),
        seconds.alias("read_seconds"),
        scrolled.alias("scroll_percentage"),
        F.col("arrived_at").alias("ingested_at"),
    )
