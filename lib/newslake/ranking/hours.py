"""The hours that a ranker learns from, those that choose its rounds, and those that it is judged by."""

from datetime import datetime, timedelta

from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.options import whole_hour
from newslake.training.data.time_splits import TEST, Spans, TimeSplits, Windows

RANKER = Spans(train_days=5, valid_hours=6, test_hours=12)
"""Where nobody says."""
_HOUR = timedelta(hours=1)


def windows_of(lake: Lakehouse, by_time: TimeSplits) -> Windows:
    """The windows that a ranker's options name: whole hours, since features are of the hour.

    Raises:
        UserError: --as-of is no moment, there is no impression with a label, or a window is empty or does not
            begin on the hour.
    """
    impressions = lake.read("impressions")  # says what builds it
    end = None
    if by_time.as_of is None:
        row = impressions.where(F.col("clicked").isNotNull()).agg(F.max("occurred_at")).head()
        if row is None or row[0] is None:
            raise UserError(
                f"no impression with a label in {lake}: run jobs/parse_behaviors.py or"
                " jobs/stream_behaviors.py first"
            )
        end = next_hour(row[0])
    windows = by_time.windows(RANKER, end=end)
    if TEST not in windows.roles:
        raise UserError("--test-hours must be at least 1: a ranker is judged before it comes into use")
    if any(edge != whole_hour(edge) for edge in (windows.train, windows.valid, windows.test)):
        raise UserError("--train-days, --valid-hours and --test-hours must make whole hours for a ranker")
    return windows


def hours_of(windows: Windows) -> list[datetime]:
    """Every hour of the windows."""
    return [windows.train + i * _HOUR for i in range((windows.end - windows.train) // _HOUR)]


def next_hour(time: datetime) -> datetime:
    """The first whole hour after a time."""
    return whole_hour(time) + _HOUR
