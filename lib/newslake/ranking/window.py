"""The hours that a ranker learns from, those by which its rounds are chosen, and those that it is judged by:
later ones each."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from newslake.errors import UserError
from newslake.run.options import utc_moment
from newslake.training.data.time_splits import TEST, TRAIN, VALID


@dataclass(frozen=True)
class Window:
    """Spans of time, each up to the next one's start.

    Attributes:
        as_of: the end, a whole hour, UTC and without a zone; nothing from then on is looked at.
        train_days: days to learn from.
        valid_hours: hours after those, to choose by.
        test_hours: the last hours, to judge by.
    """

    as_of: datetime
    train_days: int = 5
    valid_hours: int = 6
    test_hours: int = 12

    def __post_init__(self) -> None:
        if min(self.train_days, self.valid_hours, self.test_hours) < 1:
            raise UserError("--train-days, --valid-hours and --test-hours must be at least 1")

    @property
    def spans(self) -> dict[str, tuple[datetime, datetime]]:
        """From when until when each part is."""
        test = self.as_of - timedelta(hours=self.test_hours)
        valid = test - timedelta(hours=self.valid_hours)
        train = valid - timedelta(days=self.train_days)
        return {TRAIN: (train, valid), VALID: (valid, test), TEST: (test, self.as_of)}


def moment(text: str) -> datetime:
    """A day or a whole hour as --as-of takes it, UTC and without a zone; a day is its start.

    Raises:
        UserError: it is neither.
    """
    try:
        given = utc_moment(text)
    except ValueError:
        raise UserError(f"--as-of {text}: give a day or an hour such as 2019-11-15T08") from None
    if given != given.replace(minute=0, second=0, microsecond=0):
        raise UserError(f"--as-of {text}: give a day or a whole hour such as 2019-11-15T08")
    return given


def next_hour(time: datetime) -> datetime:
    """The first whole hour after a time."""
    return time.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
