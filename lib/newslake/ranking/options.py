"""Options of the jobs that rank, each once: the formula, which candidates a ranker learns from, and how it is
fitted."""

from newslake.errors import UserError
from newslake.ranking.feed import FeedSettings
from newslake.ranking.ranker import Kind, RankerSettings
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
        if self.ctr_half_life_hours <= 0:
            raise UserError("--ctr-half-life-hours must be above 0")
        self.settings(1)  # checks the rest

    def settings(self, size: int) -> FeedSettings:
        """The settings of feeds of so many articles.

        Raises:
            UserError: a value makes no sense.
        """
        return FeedSettings(size, self.similarity_weight, self.age_half_life_hours)


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


@option_group
class FitOptions:
    """How a ranker is fitted.

    Attributes:
        kind: trees (gradient boosting, LambdaMART) or linear.
        rounds: At most.
        patience: Rounds without a better nDCG@10 on the valid hours, after which training stops.
        depth: Of the trees.
        learning_rate: Of a round.
        seed: Of what is drawn.
    """

    kind: Kind = "trees"
    rounds: int = RankerSettings.rounds
    patience: int = RankerSettings.patience
    depth: int = RankerSettings.depth
    learning_rate: float = RankerSettings.learning_rate
    seed: int = RankerSettings.seed

    def settings(self) -> RankerSettings:
        """The settings of the fit.

        Raises:
            UserError: a value makes no sense.
        """
        return RankerSettings(
            self.kind, self.rounds, self.patience, self.depth, self.learning_rate, seed=self.seed
        )


FORMULA, CANDIDATES, FIT = FormulaOptions(), CandidateOptions(), FitOptions()
"""What a job takes where nothing is given."""
