"""What becomes of every line of one kind of file: used, an exact duplicate, or rejected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.intake.verdicts import CONFLICT, IDENTITY, USE, verdicts

_BROADCAST_LINES = 100_000  # set aside up to this many lines by a broadcast join; above it Spark chooses


@dataclass(frozen=True)
class Stock:
    """What a first look at the lines of one split found."""

    lines: int = 0
    unusable: int = 0
    repeated_keys: int = 0

    @property
    def usable(self) -> int:
        return self.lines - self.unusable

    def __add__(self, other: "Stock") -> "Stock":
        return Stock(
            self.lines + other.lines, self.unusable + other.unusable, self.repeated_keys + other.repeated_keys
        )


def take_stock(parsed: DataFrame, key: Sequence[str]) -> dict[str, Stock]:
    """Count lines, unusable lines and keys that come again, in one pass that moves nothing but hashes of the
    keys.

    Args:
        parsed: lines with split, problem and the columns of the key.
        key: its columns. A key that comes again in another split counts for both.
    """
    hashed = F.when(F.col("problem").isNull(), F.xxhash64(*key)).alias("key")
    keys = parsed.select("split", hashed).groupBy("key", "split").agg(F.count("*").alias("lines"))
    if "split" not in key:
        keys = keys.select("*", F.sum("lines").over(Window.partitionBy("key")).alias("times"))
    else:
        keys = keys.select("*", F.col("lines").alias("times"))
    usable = F.col("key").isNotNull()
    found = keys.groupBy("split").agg(
        F.sum("lines").alias("lines"),
        F.coalesce(F.sum(F.when(~usable, F.col("lines"))), F.lit(0)).alias("unusable"),
        F.count_if(usable & (F.col("times") > 1)).alias("repeated_keys"),
    )
    return {
        row["split"]: Stock(row["lines"], row["unusable"], row["repeated_keys"]) for row in found.collect()
    }


def judge(claims: DataFrame) -> DataFrame:
    """Decide on every usable line whose key comes again, or is in the tables already.

    Args:
        claims: what verdicts.verdicts takes, of every usable line.

    Returns:
        The lines that are not simply used and new: their columns and outcome.
    """
    return verdicts(claims).where((F.col("outcome") != USE) | F.col("stored"))


def without(rows: DataFrame, lines: DataFrame, count: int) -> DataFrame:
    """Leave out some lines.

    Args:
        rows: lines with IDENTITY.
        lines: those to leave out.
        count: how many those are.
    """
    aside = lines.select(*IDENTITY)
    return rows.join(
        F.broadcast(aside) if count <= _BROADCAST_LINES else aside, on=list(IDENTITY), how="left_anti"
    )


def set_aside(parsed: DataFrame, judged: DataFrame | None, key: str) -> DataFrame:
    """The lines that go to quarantine, with reason.

    Args:
        parsed: lines with problem.
        judged: verdicts on lines with a repeated key, None where there are none.
        key: name of the column whose value came again, for the reason.
    """
    rejected = parsed.where(F.col("problem").isNotNull()).withColumn("reason", F.col("problem"))
    if judged is None:
        return rejected
    conflicts = judged.where(F.col("outcome") == CONFLICT).select(*IDENTITY)
    again = parsed.where(F.col("problem").isNull()).join(conflicts, on=list(IDENTITY), how="left_semi")
    return rejected.unionByName(again.withColumn("reason", F.lit(f"{key} repeated with different content")))


def union(frames: Mapping[str, DataFrame]) -> DataFrame:
    """All splits together."""
    return reduce(DataFrame.unionByName, frames.values())


def tally(judged: DataFrame | None, *found: str) -> list[Row]:
    """How many lines have which verdict: rows of split, outcome, the columns of `found`, and lines."""
    if judged is None:
        return []
    return judged.groupBy("split", "outcome", *found).agg(F.count("*").alias("lines")).collect()


def lines_of(verdicts: Sequence[Row], outcome: str) -> int:
    """How many lines a tally counts with one outcome."""
    return sum(row["lines"] for row in verdicts if row["outcome"] == outcome)


@dataclass(frozen=True)
class Ledger:
    """Where the lines of one kind of file went."""

    kind: str
    unit: str  # what its lines are called: lines, or rows
    lines: int
    used: int
    duplicates: int
    quarantined: int

    def check(self) -> None:
        """Every line must be accounted for.

        Raises:
            JobFailed: lines in are not lines used, duplicates and quarantined lines together.
        """
        if self.lines != self.used + self.duplicates + self.quarantined:
            raise JobFailed(
                f"{self.kind}: {self.lines:,} {self.unit} in, but {self.used:,} used, {self.duplicates:,}"
                f" exact duplicates and {self.quarantined:,} quarantined: do not trust the tables, and run"
                " again once the files no longer change"
            )
