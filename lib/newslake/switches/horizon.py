"""The purge horizon: the day before which articles are not served any more. purge_news sets it; whoever makes
vectors keeps to it."""

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse

TABLE = "purges"
UNDATED = "1970-01-01"
"""The day that stands for none, as in article_vectors: an article without a date is never old."""


def horizon(lake: Lakehouse) -> date | None:
    """The horizon of the latest purge; None where nothing was purged yet."""
    if not lake.exists(TABLE):
        return None
    row = lake.read(TABLE).orderBy(F.desc("purged_at"), F.desc("horizon")).select("horizon").head()
    return None if row is None else row[0]


def set_horizon(lake: Lakehouse, day: date) -> None:
    """Make `day` the horizon."""
    lake.merge(
        TABLE,
        lake.spark.range(1).select(F.lit(day).alias("horizon"), F.current_timestamp().alias("purged_at")),
    )


def is_old(day: Column, before: date) -> Column:
    """Whether an article of that day (or time) lies before the horizon; false where it has none, or
    UNDATED."""
    return F.coalesce((day < F.lit(before)) & (day.cast("date") != F.lit(UNDATED).cast("date")), F.lit(False))


def served(rows: DataFrame, day: str, before: date | None) -> DataFrame:
    """Those rows whose article may still be served, by the column `day`; all where there is no horizon."""
    return rows if before is None else rows.where(~is_old(F.col(day), before))
