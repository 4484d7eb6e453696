"""Options of the jobs that rank: the formula, and which candidates a ranker learns from. How it is fitted is
with the ranker."""

from newslake.errors import UserError
from newslake.ranking.ranker import RankerSettings
from newslake.run.options import option_group


@option_group
class FormulaOptions:
    """How candidates are ranked where no ranker does: click-through rate, age and likeness.

    Attributes:
        similarity_weight: What a likeness of 1 adds to the log of the click-through rate.
        ctr_half_life_hours: A click or impression counts half after this time.
        age_half_life_hours: An article counts half after this time.
    """

    similarity_weight: float = 4.0
    ctr_half_life_hours: float = 24.0
    age_half_life_hours: float = 3.0

    def __post_init__(self) -> None:
        if self.similarity_weight < 0 or min(self.ctr_half_life_hours, self.age_half_life_hours) <= 0:
            raise UserError(
                "--similarity-weight must be 0 or more, --ctr-half-life-hours and --age-half-life-hours"
                " above 0"
            )


@option_group
class CandidateOptions:
    """Which candidates a ranker learns from and is judged by.

    Attributes:
        days: Articles published in so many days before an hour are candidates, as for rank_newsfeed.
        unshown: Articles that were not shown to draw for each impression.
        max_impressions: Impressions of each part at most, by a hash of their ids; what bounds the memory of
            the driver.
    """

    days: int = 2
    unshown: int = 60
    max_impressions: int = 50_000

    def __post_init__(self) -> None:
        if self.days < 1 or self.unshown < 0 or self.max_impressions < 1:
            raise UserError("--days and --max-impressions must be at least 1, --unshown 0 or more")


FORMULA, CANDIDATES, FIT = FormulaOptions(), CandidateOptions(), RankerSettings()
"""What a job takes where nothing is given."""
