"""The events that a profile is made from: what arrived, or happened, in a window of time."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.files.inputs import checked, is_blank, text_lines
from newslake.intake.jsonlines import Field, also, parsed
from newslake.lake.lakehouse import Lakehouse
from newslake.run.quarantine import commonest, nothing_usable
from newslake.spark.versions import text_udf

Clock = Literal["arrival", "occurrence"]
MAX_TAG = 100
"""Characters of a tag at most: longer ones are left out."""
_TIME_OF: dict[Clock, str] = {"arrival": "ingested_at", "occurrence": "occurred_at"}
_LINES = {
    "user_interests": (
        Field("user_id", required=True),
        Field("interest", required=True),
        Field("weight", "number"),
        Field("stated_at", "time", required=True),
    ),
    "search_queries": (
        Field("query_id", required=True),
        Field("user_id", required=True),
        Field("query", required=True),
        Field("searched_at", "time", required=True),
    ),
}
_TEXT = {"user_interests": "interest", "search_queries": "query"}
_WHEN = {"user_interests": "stated_at", "search_queries": "searched_at"}


@dataclass(frozen=True)
class WindowOfTime:
    """Events from `start` on (None: from the first on) and before `end`, UTC, by when they arrived or by when
    they occurred."""

    start: datetime | None
    end: datetime
    clock: Clock

    def holds(self) -> Column:
        """Whether a row with occurred_at and ingested_at lies in it."""
        return (
            self.until_end()
            if self.start is None
            else (self._time >= _as_text(self.start)) & self.until_end()
        )

    def until_end(self) -> Column:
        """Whether such a row lies in it or before it."""
        return self._time < _as_text(self.end)

    @property
    def _time(self) -> Column:
        return F.col(_TIME_OF[self.clock])


def _as_text(moment: datetime) -> Column:
    # Python's own timestamps would go through the process's time zone.
    return F.lit(f"{moment:%Y-%m-%d %H:%M:%S}").cast("timestamp")


def start_of(day: date) -> datetime:
    """00:00 UTC of a day."""
    return datetime(day.year, day.month, day.day)


def window_before(as_of: date, hours: float | None, previous: date | None, clock: Clock) -> WindowOfTime:
    """The hours before the start of a day (None: all), and nothing that an earlier profile has seen
    already."""
    end = start_of(as_of)
    starts = [end - timedelta(hours=hours)] if hours is not None else []
    if previous is not None:
        starts.append(start_of(previous))
    return WindowOfTime(max(starts, default=None), end, clock)


def _nfkc(text: pa.Array) -> pa.Array:
    return pc.utf8_normalize(text, form="NFKC")


_composed = text_udf(_nfkc)
"""Unicode's normal form NFKC, which Spark has no function for."""


def as_tag(text: Column) -> Column:
    """Text as a tag: NFKC, lower case, single blanks, no blanks around it; NULL where nothing is left or too
    much.

    So what looks alike is one tag: é as one character or as two, a blank or a no-break space. (The words of
    topics are made so too.) Not for the elements of an array, where Python cannot be called.
    """
    valid = F.make_valid_utf8(text)
    # Only what is not ASCII goes to Python.
    plain = F.coalesce(_composed(F.when(valid.rlike(r"[^\x00-\x7f]"), valid)), valid)
    tidy = F.trim(F.regexp_replace(F.lower(plain), r"[\s\p{Z}\p{Cc}]+", " "))
    return F.when((tidy != "") & (F.length(tidy) <= MAX_TAG), tidy)


def timed(rows: DataFrame, table: str) -> DataFrame:
    """Rows of a table of events, with occurred_at."""
    return rows.withColumn("occurred_at", F.col(_WHEN[table])) if table in _WHEN else rows


def said_tags(rows: DataFrame, table: str, weight: float) -> DataFrame:
    """What users said, as tags: user_id, tag, occurred_at, weight.

    Args:
        rows: of user_interests or search_queries, with occurred_at.
        table: which of them.
        weight: of a query, or of an interest stated with a weight of 1.
    """
    strength = F.col("weight") * F.lit(weight) if table == "user_interests" else F.lit(weight)
    tags = rows.select(
        "user_id", as_tag(F.col(_TEXT[table])).alias("tag"), "occurred_at", strength.alias("weight")
    )
    return tags.where(F.col("tag").isNotNull() & (F.col("weight") > 0.0))


def said_lines(lake: Lakehouse, table: str, path: str, option: str) -> tuple[DataFrame, DataFrame]:
    """JSON lines as rows of user_interests or search_queries, and those that cannot be used (what
    quarantine.rejected takes).

    Args:
        lake: where the table lives.
        table: which of the two.
        path: of the lines.
        option: what the path was given by.

    Raises:
        UserError: there is nothing at the path, or it cannot be read.
    """
    lines = json_lines(lake.spark, path, table, option)
    problem = F.col("problem").isNotNull()
    bad = lines.where(problem).select(
        "source",
        F.lit(None).cast("bigint").alias("line_number"),
        _id_of(table),
        "raw",
        F.col("problem").alias("reason"),
        "ingested_at",
    )
    return lines.where(~problem).select(*lake.schema(table).names), bad


def refuse_useless(rejected: int, rows: DataFrame, bad: DataFrame) -> None:
    """Stop where lines were rejected and none is left.

    Args:
        rejected: how many.
        rows: the usable ones.
        bad: the rejected, as said_lines gives them.

    Raises:
        JobFailed: there is no usable line; says why.
    """
    if rejected and rows.isEmpty():
        raise JobFailed(nothing_usable("line of what users said", rejected, commonest(bad, "reason")))


def json_lines(spark: SparkSession, path: str, table: str, option: str) -> DataFrame:
    """JSON lines as rows of user_interests or search_queries, with source, raw, and problem: why one cannot
    be used, or NULL."""
    text = text_lines(spark, checked(spark, path, option)).where(~is_blank(F.col("value")))
    lines = text.select(
        F.col("_metadata.file_path").alias("source"),
        F.col("value").cast("binary").alias("raw"),
        F.col("_metadata.file_modification_time").alias("ingested_at"),
    )
    name = _TEXT[table]
    rows = also(
        parsed(lines, _LINES[table]),
        F.when(as_tag(F.col(name)).isNull(), f"{name} is empty or over {MAX_TAG} characters"),
    )
    if table == "user_interests":
        weight = F.coalesce("weight", F.lit(1.0))
        rows = also(
            rows, F.when(~weight.between(0.0, 1.0), "weight is not a number between 0 and 1")
        ).withColumn("weight", weight)
    return rows


def _id_of(table: str) -> Column:
    return F.col("query_id" if table == "search_queries" else "user_id").alias("record_id")
