"""Options of build_profiles, each once: how events become weights, and what users said."""

from newslake.errors import UserError
from newslake.run.options import option_group
from newslake.users.events import Clock


@option_group
class WeightOptions:
    """How events become weights.

    Attributes:
        clock: Which events belong to a day: those that arrived in its window (ingested_at), or, to replay
            files such as MIND's, those that occurred in it.
        window_hours: Add the events of so many hours before the day, as the tables are now, whatever earlier
            days counted or left out; hours before the last earlier profile are left out (default: all that no
            earlier day counted).
        half_life_days: Days after which an event weighs half.
        skip_weight: What an article that was shown and not clicked takes from the weights of its tags.
        keywords: Keywords of an article that become tags.
        keyword_articles: Articles that the rarity of words is counted in.
        min_weight: Weights below are dropped.
        max_tags: The heaviest tags of a user that are kept.
    """

    clock: Clock = "arrival"
    window_hours: float | None = None
    half_life_days: float = 7.0
    skip_weight: float = 0.0
    keywords: int = 5
    keyword_articles: int = 20_000
    min_weight: float = 0.01
    max_tags: int = 1_000

    def __post_init__(self) -> None:
        if min(self.half_life_days, 1.0 if self.window_hours is None else self.window_hours) <= 0.0:
            raise UserError("--half-life-days and --window-hours must be above 0")
        if min(self.skip_weight, self.min_weight) < 0.0:
            raise UserError("--skip-weight and --min-weight must be 0 or more")
        if self.keywords < 0 or min(self.max_tags, self.keyword_articles) < 1:
            raise UserError("--max-tags and --keyword-articles must be at least 1, --keywords 0 or more")


@option_group
class SaidOptions:
    """What users said of themselves, and what it weighs; a click weighs 1.

    Attributes:
        interests: JSON lines with user_id, interest, weight and stated_at, to read instead of table
            user_interests, by time alone.
        queries: JSON lines with query_id, user_id, query and searched_at, to read instead of table
            search_queries, by time alone.
        interest_weight: Weight of an interest stated with weight 1.
        query_weight: Weight of a search query.
    """

    interests: str | None = None
    queries: str | None = None
    interest_weight: float = 1.0
    query_weight: float = 0.5

    def __post_init__(self) -> None:
        if min(self.interest_weight, self.query_weight) < 0.0:
            raise UserError("--interest-weight and --query-weight must be 0 or more")

    @property
    def sources(self) -> dict[str, tuple[str | None, float]]:
        """Table -> the file to read in its place, if any, and the weight."""
        return {
            "user_interests": (self.interests, self.interest_weight),
            "search_queries": (self.queries, self.query_weight),
        }


WEIGHTS, SAID = WeightOptions(), SaidOptions()
"""What the job takes where nothing is given."""
