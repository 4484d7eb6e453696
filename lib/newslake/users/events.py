"""The events that a profile is made from: what arrived, or happened, in a window of time."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lakehouse import Lakehouse

Clock = Literal["arrival", "occurrence"]
MAX_TAG = 100
"""Longer tags, in characters, are none."""
_TIME_OF: dict[Clock, str] = {"arrival": "ingested_at", "occurrence": "occurred_at"}
_LINES = {
    "user_interests": "user_id string, interest string, weight string, stated_at string",
    "search_queries": "query_id string, user_id string, query string, searched_at string",
}
_TEXT = {"user_interests": "interest", "search_queries": "query"}
_WHEN = {"user_interests": "stated_at", "search_queries": "searched_at"}


@dataclass(frozen=True)
class WindowOfTime:
    """Events from `start` on (None: from the first on) and before `end`, UTC, by when they arrived or by when they occurred."""

    start: datetime | None
    end: datetime
    clock: Clock

    def holds(self) -> Column:
        """Whether a row with occurred_at and ingested_at lies in it."""
        return self.until_end() if self.start is None else (self._time >= _as_text(self.start)) & self.until_end()

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
    """The hours before the start of a day (None: all), and nothing that an earlier profile has seen already."""
    end = start_of(as_of)
    starts = [end - timedelta(hours=hours)] if hours is not None else []
    if previous is not None:
        starts.append(start_of(previous))
    return WindowOfTime(max(starts, default=None), end, clock)


def as_tag(text: Column) -> Column:
    """Text as a tag: lower case, single blanks, no blanks around it; NULL where nothing is left or too much."""
    tidy = F.trim(F.regexp_replace(F.lower(F.make_valid_utf8(text)), r"[\s\p{Cc}]+", " "))
    return F.when((tidy != "") & (F.length(tidy) <= MAX_TAG), tidy)


def timed(rows: DataFrame, table: str) -> DataFrame:
    """Rows of a table of events, with occurred_at."""
    return rows.withColumn("occurred_at", F.col(_WHEN[table])) if table in _WHEN else rows


def said(rows: DataFrame, table: str, weight: float) -> DataFrame:
    """What users said, as tags: user_id, tag, occurred_at, weight.

    Args:
        rows: of user_interests or search_queries, with occurred_at.
        table: which of them.
        weight: of a query, or of an interest stated with a weight of 1.
    """
    strength = F.col("weight") * F.lit(weight) if table == "user_interests" else F.lit(weight)
    tags = rows.select("user_id", as_tag(F.col(_TEXT[table])).alias("tag"), "occurred_at", strength.alias("weight"))
    return tags.where(F.col("tag").isNotNull() & (F.col("weight") > 0.0))


def said_lines(lake: Lakehouse, table: str, path: str, option: str) -> tuple[DataFrame, DataFrame]:
    """JSON lines as rows of user_interests or search_queries, and those that cannot be used (what quarantine.rejected takes).

    Args:
        lake: where the table lives.
        table: which of the two.
        path: of the lines.
        option: what the path was given by.

    Raises:
        UserError: there is nothing at the path.
    """
    lines = json_lines(lake.spark, path, table, option)
    problem = F.col("problem").isNotNull()
    bad = lines.where(problem).select(
        "source", F.lit(None).cast("bigint").alias("line_number"), _id_of(table), "raw", F.col("problem").alias("reason"), "ingested_at"
    )
    return lines.where(~problem).select(*lake.schema(table).names), bad


def json_lines(spark: SparkSession, path: str, table: str, option: str) -> DataFrame:
    """JSON lines as rows of user_interests or search_queries, with source, raw, and problem: why one cannot be used, or NULL."""
    try:
        text = spark.read.text(path, lineSep="\n").select("value", "_metadata.file_path", "_metadata.file_modification_time")
    except AnalysisException as error:
        if "PATH_NOT_FOUND" in str(error):
            raise UserError(f"{option} {path}: there is no such file") from None
        raise
    parsed = F.from_json(F.make_valid_utf8(F.col("value")), f"{_LINES[table]}, _corrupt string", {"columnNameOfCorruptRecord": "_corrupt"})
    rows = text.where(F.trim("value") != "").select(
        F.col("file_path").alias("source"),
        F.col("value").cast("binary").alias("raw"),
        F.col("file_modification_time").alias("ingested_at"),
        parsed.alias("line"),
    )
    rows = rows.select("source", "raw", "ingested_at", "line.*")
    time = _WHEN[table]
    rows = rows.withColumn(time, F.try_to_timestamp(F.col(time)))
    if table == "user_interests":
        rows = rows.withColumn("weight", F.expr("try_cast(coalesce(weight, '1') AS DOUBLE)"))
    return rows.withColumn("problem", _problem(table))


def _problem(table: str) -> Column:
    name = "interest" if table == "user_interests" else "query"
    found = F.when(F.col("_corrupt").isNotNull(), "not a JSON object")
    found = found.when(F.coalesce("user_id", F.lit("")) == "", "no user_id")
    if table == "search_queries":
        found = found.when(F.coalesce("query_id", F.lit("")) == "", "no query_id")
    else:
        usable = (F.col("weight") >= 0.0) & (F.col("weight") <= 1.0)
        found = found.when(~F.coalesce(usable, F.lit(False)), "weight is not a number between 0 and 1")
    found = found.when(as_tag(F.col(name)).isNull(), f"{name} is missing, empty or over {MAX_TAG} characters")
    return found.when(F.col(_WHEN[table]).isNull(), f"{_WHEN[table]} is no time such as 2019-11-09T06:03:52Z")


def _id_of(table: str) -> Column:
    return F.col("query_id" if table == "search_queries" else "user_id").alias("record_id")
