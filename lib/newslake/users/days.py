"""Days as the jobs of this room take them."""

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse


def days_between(first: date, last: date) -> list[date]:
    """Every day from the first to the last, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def rows_of_day(lake: Lakehouse, table: str, day: date) -> DataFrame:
    """A table's rows of one as_of.

    Raises:
        UserError: the table is not there, or has none; names the days next to it that it has.
    """
    rows = lake.read(table)
    found = rows.where(F.col("as_of") == F.lit(day))
    if found.isEmpty():
        known = rows.agg(F.min("as_of"), F.max("as_of")).head()
        has = (
            f"it has days from {known[0]} to {known[1]}"
            if known is not None and known[0] is not None
            else "it is empty"
        )
        raise UserError(f"table {table} has nothing for --as-of {day} ({has}): build that day first")
    return found
