"""What a generated data set is made from: everything that decides its bytes."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from newslake.errors import UserError
from newslake.run.options import flag, option_group

FORMAT = 1
"""Raised when the same settings would give other bytes than before."""

MIND_DAYS = 6
"""Days of train in MIND."""
HISTORY_DAYS = 28
PERIOD_SHARES = (0.35, 0.5, 0.15)
"""Share of the articles published in the four weeks before, in train's six days, and on dev's day."""


@option_group
class GeneratorSpec:
    """Settings of the generator; the defaults are a week as MIND's.

    Attributes:
        articles: Number of articles, over the earlier weeks, train and dev.
        users: Number of users, those who appear in dev only included.
        impressions: Number of impressions of train and dev together.
        candidates: Mean number of candidates of an impression (MIND has about 37); at least 2 are shown.
        clicks: Mean number of clicks of an impression (MIND has about 1.5); at least one click and one skip.
        history: Mean number of earlier clicks of a user, repeated ones counted.
        dev_share: Share of the impressions that fall on the last day, dev.
        new_users: Share of dev's users who never occur in train.
        body_share: Share of the articles that have a body.
        late_share: Share of the bodies that are long (800 to 3,000 words) and come to their subject late.
        copies: Share of the articles that are near-copies of an earlier one (a few words changed, another
            subcategory and source); truth/copies says of which.
        short_texts: Number of short texts.
        mislabelled: Share of the short texts with a wrong label.
        first_day: First day of train, UTC, such as 2019-11-09.
        train_days: Days of train; dev is the day after them.
        rows_per_file: Rows of one file; of articles with bodies a twentieth of it, but 100 at least.
        truth: Write the latent truth too.
        seed: Another seed makes another world; the same one the same bytes.

    Raises:
        UserError: a setting is out of its range.
    """

    articles: int = 2_000
    users: int = 500
    impressions: int = 3_000
    candidates: float = 20.0
    clicks: float = 2.0
    history: float = 30.0
    dev_share: float = 0.15
    new_users: float = 0.1
    body_share: float = 0.6
    late_share: float = 0.35
    copies: float = 0.0
    short_texts: int = 1_500
    mislabelled: float = 0.15
    first_day: str = "2019-11-09"
    train_days: int = MIND_DAYS
    rows_per_file: int = 50_000
    truth: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "articles": 200,
            "users": 10,
            "impressions": 10,
            "train_days": 1,
            "rows_per_file": 20,
            "short_texts": 0,
            "seed": 0,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UserError(f"{flag(name)} must be at least {bound}, not {getattr(self, name)}")
        for name in ("dev_share", "new_users", "body_share", "late_share", "copies", "mislabelled"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(
                    f"{flag(name)} is a share and must lie between 0 and 1, not {getattr(self, name)}"
                )
        if not 2.0 <= self.candidates <= 150.0:
            raise UserError(f"--candidates must lie between 2 and 150, not {self.candidates}")
        if not 1.0 <= self.clicks <= self.candidates / 2.0:
            raise UserError(f"--clicks must lie between 1 and half of --candidates, not {self.clicks}")
        if not 0.0 <= self.history <= 150.0:
            raise UserError(f"--history must lie between 0 and 150, not {self.history}")
        if self.candidates > self.articles / 20:
            raise UserError(
                f"{self.candidates} candidates an impression need at least --articles"
                f" {int(self.candidates * 20)}, not {self.articles}"
            )
        try:
            datetime.strptime(self.first_day, "%Y-%m-%d")
        except ValueError:
            raise UserError(f"--first-day must be a day such as 2019-11-09, not {self.first_day}") from None

    @property
    def start(self) -> int:
        """When train starts, in seconds since 1970 UTC."""
        return int(datetime.strptime(self.first_day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())

    @property
    def dev_day(self) -> date:
        """The day after train's last."""
        return date.fromisoformat(self.first_day) + timedelta(days=self.train_days)

    @property
    def period_shares(self) -> tuple[float, float, float]:
        """Share of the articles published in the four weeks before, in train, and on dev's day. A day of
        train keeps its proportion to the others, however many days there are."""
        before, train, dev = PERIOD_SHARES
        parts = (before, train * self.train_days / MIND_DAYS, dev)
        earlier, in_train, on_dev = (part / sum(parts) for part in parts)
        return earlier, in_train, on_dev

    @property
    def impressions_of(self) -> dict[str, int]:
        """Number of impressions by split; each split has at least one."""
        dev = min(max(round(self.impressions * self.dev_share), 1), self.impressions - 1)
        return {"train": self.impressions - dev, "dev": dev}

    @property
    def known_users(self) -> int:
        """Users 0 .. known_users - 1 may occur in train, the others in dev only."""
        return max(1, self.users - round(self.users * self.new_users))

    def as_dict(self) -> dict[str, object]:
        """The settings for spec.json."""
        return {"generator": "newslake", "format": FORMAT, **asdict(self)}


SAMPLE = GeneratorSpec()
"""The built-in sample."""
