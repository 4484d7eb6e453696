"""The interface of the matchers, and what they share."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Literal, Self, get_args

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.users.sets import phrase_id_of

MatcherName = Literal["exact", "minhash", "datasketch"]

PAIRS = ("phrase_id", "stored_id", "jaccard")


class Scratch:
    """Intermediate frames that are kept for several uses, and let go at the end of the `with` block."""

    def __init__(self) -> None:
        self._kept: list[DataFrame] = []

    def keep(self, rows: DataFrame) -> DataFrame:
        """Persist the rows, in memory as far as they fit."""
        kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
        self._kept.append(kept)
        return kept

    def cut(self, rows: DataFrame) -> DataFrame:
        """Compute the rows now and forget where they came from: for a narrow result that many further steps build on.

        A kept frame carries the plans of those that it is made from, several times over once they nest, so that Spark's
        own description of the plan doubles with each step. Partitions by a key are forgotten too.
        """
        return rows.localCheckpoint(eager=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for rows in self._kept:
            rows.unpersist()


class Matcher(ABC):
    """Compares new tag sets with stored ones.

    Both sides have a column `tags`, array<string>: order, repeats and NULLs do not count, sets without a tag are left out, and no
    set may be there twice on one side. A set's id is sets.phrase_id of its tags. The results have the columns phrase_id
    (of the new set), stored_id (of the stored one) and jaccard, which is exact in each. They are valid while `scratch` is open.
    """

    @abstractmethod
    def pairs(self, new: DataFrame, stored: DataFrame, threshold: float, scratch: Scratch) -> DataFrame:
        """Pairs whose Jaccard similarity is `threshold` (over 0, to 1) or more, each once."""

    def best(self, new: DataFrame, stored: DataFrame, threshold: float, scratch: Scratch) -> DataFrame:
        """Of each new set's pairs the one with the highest Jaccard similarity, ties by the lowest stored_id."""
        found = self.pairs(new, stored, threshold, scratch)
        best = found.groupBy("phrase_id").agg(F.min(F.struct((-F.col("jaccard")).alias("order"), "stored_id")).alias("best"))
        return best.select("phrase_id", F.col("best.stored_id").alias("stored_id"), (-F.col("best.order")).alias("jaccard"))


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
    """Matches of sets as rows with phrase ids: new_hashes, stored_hashes, jaccard -> phrase_id, stored_id, jaccard."""
    return found.select(
        phrase_id_of(F.col("new_hashes")).alias("phrase_id"), phrase_id_of(F.col("stored_hashes")).alias("stored_id"), "jaccard"
    )
