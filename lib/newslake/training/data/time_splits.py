"""Which impressions a model is trained on, chosen by and reported on: by the splits that files came in, or by
when they occurred.

Column expressions over `split` and `occurred_at`, without I/O; table click_history has both columns as well
as impressions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pyspark.sql import Column
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.run.options import option_group

TRAIN, VALID, TEST = "train", "valid", "test"
"""The roles: what weights are fitted to, what the epoch (and other settings) are chosen by, and what is
reported."""


@dataclass(frozen=True)
class Spans:
    """How long each role lasts where nobody says: days of train, hours of valid and of test."""

    train_days: float = 28.0
    valid_hours: float = 24.0
    test_hours: float = 24.0


RECOMMENDER = Spans()
"""What recommenders are trained on, chosen by and reported on."""


@option_group
class TimeSplits:
    """Splits by time, counted back from one moment: train, then valid, then test, which ends there. Any but
    `splits` turns them on.

    Attributes:
        as_of: Split by time up to this moment, UTC: a day (its start) or an hour, 2019-11-15T08 (default,
            with one of the next: today; train_ranker: the hour after the last impression with a label).
        train_days: By time: days before the valid hours to train on (default: 28; train_ranker: 5).
        valid_hours: By time: hours before the test hours to choose the epoch or the rounds by (default: 24;
            train_ranker: 6).
        test_hours: By time: the last hours, read once after training and reported; 0: none, valid is reported
            (default: 24; train_ranker, which needs some: 12).
        splits: By time: splits whose impressions are taken (default: all).
    """

    as_of: str | None = None
    train_days: float | None = None
    valid_hours: float | None = None
    test_hours: float | None = None
    splits: tuple[str, ...] | None = None

    @property
    def asked(self) -> bool:
        """Whether the options ask for splits by time."""
        return any(
            value is not None for value in (self.as_of, self.train_days, self.valid_hours, self.test_hours)
        )

    def windows(self, usual: Spans = RECOMMENDER, *, end: datetime | None = None) -> "Windows":
        """The windows that the options name.

        Args:
            usual: how long each lasts where the options do not say.
            end: where the last one ends if --as-of is not given; None: the start of today.

        Raises:
            UserError: --as-of is no moment, or a window is empty.
        """
        train_days = usual.train_days if self.train_days is None else self.train_days
        valid_hours = usual.valid_hours if self.valid_hours is None else self.valid_hours
        test_hours = usual.test_hours if self.test_hours is None else self.test_hours
        if not (0 < train_days < 36_500 and 0 < valid_hours < 876_000):
            raise UserError(
                f"--train-days {train_days:g} --valid-hours {valid_hours:g}: both must be above 0"
            )
        if not 0 <= test_hours < 876_000:
            raise UserError(f"--test-hours {test_hours:g}: must be 0 or more; 0 reports valid")
        if end is None or self.as_of is not None:
            end = _moment(self.as_of)
        test = end - timedelta(hours=test_hours)
        valid = test - timedelta(hours=valid_hours)
        return Windows(
            valid - timedelta(days=train_days), valid, test, end, tuple(sorted(set(self.splits or ())))
        )


NOT_BY_TIME = TimeSplits()
"""The default of a job: split by file."""


@dataclass(frozen=True)
class Windows:
    """Roles by time: [train, valid), [valid, test) and [test, end), UTC without a zone; test may be empty.

    Attributes:
        train, valid, test: when each begins.
        end: when the last of them ends.
        splits: whose impressions; empty: all.
    """

    train: datetime
    valid: datetime
    test: datetime
    end: datetime
    splits: tuple[str, ...] = ()

    @property
    def spans(self) -> dict[str, tuple[datetime, datetime]]:
        """From when until when each role that there is lasts, in the order of time."""
        edges = [self.train, self.valid, self.test, self.end]
        return dict(zip(self.roles, pairwise(edges), strict=False))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that there are, in the order of time."""
        return (TRAIN, VALID, TEST) if self.test < self.end else (TRAIN, VALID)

    def chosen(self) -> Column:
        """Whether a row of impressions has a role."""
        within = (F.col("occurred_at") >= F.lit(self.train)) & (F.col("occurred_at") < F.lit(self.end))
        return within & F.col("split").isin(list(self.splits)) if self.splits else within

    def role(self) -> Column:
        """The role of a row that has one."""
        at = F.col("occurred_at")
        return F.when(at < F.lit(self.valid), TRAIN).when(at < F.lit(self.test), VALID).otherwise(TEST)

    def named(self, role: str) -> str:
        """What a role is, for messages."""
        start, until = self.spans[role]
        of = f" of split {', '.join(self.splits)}" if self.splits else ""
        return f"{role} ({start:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}{of})"

    def mended_by(self) -> str:
        """What to do where a role has no impression, for messages."""
        return "choose another --as-of, or other --train-days, --valid-hours and --test-hours"

    def as_dict(self) -> dict[str, object]:
        """What decides the roles, for a fingerprint."""
        moments = (self.train, self.valid, self.test, self.end)
        return {"windows": [str(moment) for moment in moments], "of": list(self.splits)}


@dataclass(frozen=True)
class BySplit:
    """Roles by the splits of files: those of some are train, those of others valid, and there is no test.

    Raises:
        UserError: a split is in both.
    """

    train: Sequence[str] = ("train",)
    valid: Sequence[str] = ("dev",)

    def __post_init__(self) -> None:
        if both := sorted(set(self.train) & set(self.valid)):
            raise UserError(
                f"split {', '.join(both)} is among both the splits to train on and those to judge by"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that there are."""
        return (TRAIN, VALID)

    def chosen(self) -> Column:
        """Whether a row of impressions has a role."""
        return F.col("split").isin(sorted({*self.train, *self.valid}))

    def role(self) -> Column:
        """The role of a row that has one."""
        return F.when(F.col("split").isin(list(self.train)), TRAIN).otherwise(VALID)

    def named(self, role: str) -> str:
        """What a role is, for messages."""
        return f"split {', '.join(self.train if role == TRAIN else self.valid)}"

    def mended_by(self) -> str:
        """What to do where a role has no impression, for messages."""
        return (
            "bring impressions of that split, such as by jobs/parse_behaviors.py, or split by time (--as-of)"
        )

    def as_dict(self) -> dict[str, object]:
        """What decides the roles, for a fingerprint."""
        return {"train": sorted(self.train), "valid": sorted(self.valid)}


Roles = Windows | BySplit


def roles_of(
    by_time: TimeSplits,
    train_splits: Sequence[str] | None,
    eval_splits: Sequence[str] | None,
    impressions: str | None = None,
) -> Roles:
    """The roles that a job's options ask for: by time, or else by split (train and dev, unless others are
    named).

    Args:
        by_time: options of splits by time.
        train_splits, eval_splits: those of splits by file; None: not given.
        impressions: file that lists impressions to judge by, which goes with splits by file.

    Raises:
        UserError: options of both kinds are given, or they make no sense by themselves.
    """
    given = {"--train-splits": train_splits, "--eval-splits": eval_splits, "--impressions": impressions}
    by_file = [option for option, value in given.items() if value is not None]
    if not by_time.asked:
        if by_time.splits:
            raise UserError(
                "--splits says whose impressions are split by time: give --as-of too, or --train-splits and"
                " --eval-splits"
            )
        return BySplit(tuple(train_splits or ("train",)), tuple(eval_splits or ("dev",)))
    if by_file:
        raise UserError(
            f"{' and '.join(by_file)} split by file, --as-of, --train-days, --valid-hours and --test-hours by"
            " time: give those of one kind (--splits chooses whose impressions are split by time)"
        )
    return by_time.windows()


def _moment(text: str | None) -> datetime:
    if text is None:
        text = str(datetime.now(UTC).date())
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise UserError(f"--as-of takes a day such as 2019-11-15 or an hour such as 2019-11-15T08, not {text!r}")
