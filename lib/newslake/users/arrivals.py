"""What a day adds to profiles: every event that is before the day and was not counted by the day before it,
whenever it was committed.

A day counts those rows of a table, at the version that it fixed, whose time lies before its start. So what it
adds to the day before is the difference of two such sets: rows of the time between the two days, and earlier
ones that were written since the earlier day's version.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.lake.bookmarks import NOTHING, VersionsGone, versions_needed
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.users.events import WindowOfTime, timed

Found = TypeVar("Found")
IMPRESSIONS, HISTORY = "impressions", "click_history"
_SAYS: Mapping[str, str] = {IMPRESSIONS: "clicked", "user_interests": "weight", "search_queries": "query"}
"""The column in which two rows with one key say the same, or not. (A later click changes an impression's
row.)"""


@dataclass(frozen=True)
class Span:
    """What lies between a day and the one that it is built on.

    Attributes:
        window: the time whose events count, where versions are not asked; its end is the start of the day.
        counted: what the earlier day counted, of the tables at `since`; None: the window alone decides.
        since: table -> its bookmark on the earlier day; files have none.
        until: table -> the bookmark up to which the day reads it.
        now: table -> its bookmark when the run began, for versions that are gone.
    """

    window: WindowOfTime
    counted: WindowOfTime | None
    since: Mapping[str, str]
    until: Mapping[str, str]
    now: Mapping[str, str]


@dataclass(frozen=True)
class Added:
    """Rows of one table that a day adds.

    Attributes:
        rows: those that count now, with occurred_at.
        withdrawn: those that were counted as they were, and have changed since; None: there are none.
        read_to: the bookmark up to which the table was read.
    """

    rows: DataFrame
    withdrawn: DataFrame | None
    read_to: str


def added(lake: Lakehouse, run: JobRun, frames: Frames, table: str, span: Span) -> Added:
    """The rows of impressions, user_interests or search_queries that the day adds; computed."""

    def by_version() -> tuple[DataFrame, DataFrame | None]:
        rows = timed(lake.read_at(table, span.until[table]), table)
        since = span.since.get(table)
        if span.counted is None or since is None:
            return _computed(frames, rows.where(span.window.holds())), None
        rows = rows.where(span.window.until_end())
        if since == NOTHING:
            return _computed(frames, rows), None
        changes = frames.checkpoint(lake.changes(table, since, span.until[table]))
        after, before = (
            timed(changes.where(f"{side} IS NOT NULL").select(f"{side}.*"), table)
            for side in ("after", "before")
        )
        late = after.where(span.window.until_end() & span.counted.holds())
        rows = rows.where(~span.counted.holds()).unionByName(late)
        # What was deleted stays counted: old behaviour is purged, and not taken back.
        changed = changes.where("before IS NOT NULL AND after IS NOT NULL").select("before.*")
        return _difference(
            frames, rows, timed(changed, table).where(span.counted.holds()), before.columns, table
        )

    def by_time() -> tuple[DataFrame, None]:
        rows = timed(lake.read_at(table, span.now[table]), table)
        return _computed(frames, rows.where(span.window.holds())), None

    (rows, withdrawn), read_to = _or_by_time(run, table, span, by_version, by_time)
    return Added(rows, withdrawn, read_to)


def added_histories(lake: Lakehouse, run: JobRun, frames: Frames, candidates: DataFrame, span: Span) -> Added:
    """The rows of click_history that belong to these impressions, or that came later than theirs; none with
    an empty history.

    Args:
        lake, run: as given to the job.
        frames: takes what is computed.
        candidates: rows of impressions that the day adds.
        span: of the day.
    """
    wanted = candidates.select("split", "impression_id").distinct()

    def at(bookmark: str) -> DataFrame:
        rows = _within(lake.read_at(HISTORY, bookmark), candidates)
        return rows.join(wanted, on=["split", "impression_id"], how="left_semi").where(F.size("news_ids") > 0)

    def by_version() -> DataFrame:
        rows = at(span.until[HISTORY])
        since = span.since.get(HISTORY)
        if span.counted is None or since in (None, NOTHING):
            return _computed(frames, rows)
        changes = (
            lake.changes(HISTORY, since, span.until[HISTORY])
            .where("before IS NULL AND after IS NOT NULL")
            .select("after.*")
        )
        late = changes.where(F.size("news_ids") > 0).join(
            wanted, on=["split", "impression_id"], how="left_anti"
        )
        late = frames.checkpoint(late)
        if late.isEmpty():
            return _computed(frames, rows)
        shown = (
            lake.read_at(IMPRESSIONS, span.until[IMPRESSIONS])
            .where(span.window.until_end())
            .select("split", "impression_id")
        )
        return _computed(
            frames, rows.unionByName(late.join(shown, on=["split", "impression_id"], how="left_semi"))
        )

    rows, read_to = _or_by_time(
        run, HISTORY, span, by_version, lambda: _computed(frames, at(span.now[HISTORY]))
    )
    return Added(rows, None, read_to)


def _or_by_time(
    run: JobRun, table: str, span: Span, by_version: Callable[[], Found], by_time: Callable[[], Found]
) -> tuple[Found, str]:
    """What the versions say; where one of them is gone, what the time says. And how far the table was
    read."""
    try:
        with versions_needed():
            return by_version(), span.until[table]
    except VersionsGone as gone:
        run.fact(f"read by time, {span.window.end:%Y-%m-%d}: {table}", str(gone))
        start = "" if span.window.start is None else f" from {span.window.start} on"
        run.progress(
            f"{table}: a version that this day reads is gone ({gone}): taken by time{start}; what was"
            " committed later than that is in no profile"
        )
        return by_time(), span.now[table]


def _difference(
    frames: Frames, rows: DataFrame, counted: DataFrame, columns: list[str], table: str
) -> tuple[DataFrame, DataFrame]:
    """Rows without those that were counted saying the same; and what was counted saying something else."""
    key, says = table_spec(table).key, _SAYS[table]
    rows, counted = frames.checkpoint(rows.select(*columns)), counted.select(*columns)
    new = _without(rows, counted, key, says)
    return _computed(frames, new), _computed(frames, _without(counted, rows, key, says))


def _without(rows: DataFrame, others: DataFrame, key: tuple[str, ...], says: str) -> DataFrame:
    one, other = rows.alias("one"), others.alias("other")
    same: Column = F.col(f"one.{says}").eqNullSafe(F.col(f"other.{says}"))
    for name in key:
        same = same & (F.col(f"one.{name}") == F.col(f"other.{name}"))
    return one.join(other, on=same, how="left_anti")


def _within(rows: DataFrame, candidates: DataFrame) -> DataFrame:
    """Rows of the time that the candidates span: the table's files are pruned by it."""
    span = candidates.agg(F.unix_micros(F.min("occurred_at")), F.unix_micros(F.max("occurred_at"))).head()
    if span is None or span[0] is None:
        return rows.limit(0)
    first, last = (F.timestamp_micros(F.lit(micros)) for micros in span)
    return rows.where(F.col("occurred_at").between(first, last))


def _computed(frames: Frames, rows: DataFrame) -> DataFrame:
    """The rows without what nobody asks for, computed now: a file that is gone shows now, and their long plan
    ends here."""
    return frames.checkpoint(rows.drop("position", "ingested_at"))
