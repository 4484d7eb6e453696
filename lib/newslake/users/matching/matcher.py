"""The interface of the matchers, and what they share."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.spark.frames import Frames
from newslake.users.sets import phrase_id_of

MatcherName = Literal["exact", "minhash", "datasketch"]

PAIRS = ("phrase_id", "stored_id", "jaccard")


class Matcher(ABC):
    """Compares new tag sets with stored ones.

    Both sides have a column `tags`, array<string>: order, repeats and NULLs do not count, sets without a tag
    are left out, and no set may be there twice on one side. A set's id is sets.phrase_id of its tags. The
    results have the columns phrase_id (of the new set), stored_id (of the stored one) and jaccard, which is
    exact in each. They are valid while `frames` is open.
    """

    @abstractmethod
    def pairs(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """Pairs whose Jaccard similarity is `threshold` (over 0, to 1) or more, each once."""

    def best(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """Of each new set's pairs the one with the highest Jaccard similarity, ties by the lowest
        stored_id."""
        found = self.pairs(new, stored, threshold, frames)
        best = found.groupBy("phrase_id").agg(
            F.min(F.struct((-F.col("jaccard")).alias("order"), "stored_id")).alias("best")
        )
        return best.select(
            "phrase_id", F.col("best.stored_id").alias("stored_id"), (-F.col("best.order")).alias("jaccard")
        )


def matcher(name: MatcherName, seed: int = 0) -> Matcher:
    """The matcher of that name.

    Args:
        name: `exact` finds every match; `minhash` and `datasketch` miss some and never give a wrong one.
        seed: of the hash functions of the last two.

    Raises:
        UserError: there is no such matcher.
    """
    from newslake.users.matching.exact import ExactMatcher
    from newslake.users.matching.lookup import DatasketchMatcher
    from newslake.users.matching.minhash import MinHashMatcher

    if name == "exact":
        return ExactMatcher()
    if name == "minhash":
        return MinHashMatcher(seed=seed)
    if name == "datasketch":
        return DatasketchMatcher(seed=seed)
    raise UserError(f"--matcher {name}: choose one of {', '.join(get_args(MatcherName))}")


def check_threshold(threshold: float) -> None:
    """Refuse what no Jaccard similarity can be compared with.

    Raises:
        UserError: the threshold is not over 0 and at most 1.
    """
    if not 0.0 < threshold <= 1.0:
        raise UserError(f"a Jaccard threshold lies over 0 and is at most 1, not {threshold}")


def named(found: DataFrame) -> DataFrame:
    """Matches of sets as rows with phrase ids: new_hashes, stored_hashes, jaccard -> phrase_id, stored_id,
    jaccard."""
    return found.select(
        phrase_id_of(F.col("new_hashes")).alias("phrase_id"),
        phrase_id_of(F.col("stored_hashes")).alias("stored_id"),
        "jaccard",
    )
