"""Which days have a profile, what each was made from, and how far it read the tables of events: table
profile_days.

A day's row is written before its profile, without completed_at, and again when all tables of the day are
written. So a day that a run was killed in, the first time or when it replaced the day, is not built on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import cast

from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from newslake.users.events import Clock

TABLE = "profile_days"


@dataclass(frozen=True)
class ProfileDay:
    """One day.

    Attributes:
        as_of: the day.
        clock: by which its events were before the start of the day; None: a day of a version of newslake that
            kept no record.
        counted_to: table of events -> its bookmark; see Lakehouse.bookmark.
    """

    as_of: date
    clock: Clock | None
    counted_to: Mapping[str, str]


def recorded(lake: Lakehouse, day: date) -> ProfileDay | None:
    """What is known of a day, complete or not."""
    row = lake.read(TABLE).where(F.col("as_of") == F.lit(day)).head()
    return None if row is None else ProfileDay(row["as_of"], cast(Clock, row["clock"]), row["counted_to"])


def last_complete(lake: Lakehouse, day: date, written_last: str) -> ProfileDay | None:
    """The last earlier day whose profile is complete.

    Args:
        lake: where the tables live.
        day: the day that comes after.
        written_last: the table that is written last of a day. A day in it without a row in profile_days is
            one of a version of newslake that kept no record; it is complete.
    """
    days = lake.read(TABLE)
    complete = days.where((F.col("as_of") < F.lit(day)) & F.col("completed_at").isNotNull()).select(
        "as_of", F.lit(True).alias("known")
    )
    unknown = lake.read(written_last).where(F.col("as_of") < F.lit(day)).select("as_of").distinct()
    unknown = unknown.join(days.select("as_of"), on="as_of", how="left_anti").select(
        "as_of", F.lit(False).alias("known")
    )
    last = complete.unionByName(unknown).orderBy(F.desc("as_of")).head()
    if last is None:
        return None
    return recorded(lake, last["as_of"]) if last["known"] else ProfileDay(last["as_of"], None, {})


def write(
    lake: Lakehouse, day: ProfileDay, *, built_on: date | None, settings: Mapping[str, str], complete: bool
) -> None:
    """Keep a day's row, in one commit."""
    completed_at = datetime.now(UTC) if complete else None
    values = (day.as_of, built_on, day.clock, dict(day.counted_to), dict(settings), completed_at)
    lake.replace(
        TABLE, frame_of(lake.spark, [values], lake.schema(TABLE)), where={"as_of": day.as_of.isoformat()}
    )
