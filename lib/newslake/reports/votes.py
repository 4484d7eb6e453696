"""The vote on short texts' classes, and what the text classifiers are worth."""

from collections import Counter
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse

_FLIPS, _EXAMPLES = 10, 6
DECISIONS = ("changed", "confirmed", "kept", "no vector")


@dataclass(frozen=True)
class Example:
    """One short text whose class was changed."""

    news_id: str
    title: str
    old: str
    new: str
    votes: int
    ballots: list[tuple[str, bool]]  # class of each neighbour, nearest first; whether it is the new class


@dataclass(frozen=True)
class Classifier:
    """One text classifier's quality on texts that it had not seen."""

    trained_on: str
    network: str
    texts: int
    classes: int
    accuracy: float
    calibration_error: float


@dataclass(frozen=True)
class Vote:
    """The vote of the latest day."""

    day: date
    texts: int
    decisions: list[tuple[str, int, float]]  # decision, texts, share
    flips: list[tuple[str, str, int, float]]  # old class, new class, texts, share of the commonest
    more_flips: int
    examples: list[Example]

    def count(self, decision: str) -> int:
        """Texts with that decision."""
        return next((texts for name, texts, _ in self.decisions if name == decision), 0)


def flips(votes: DataFrame) -> DataFrame:
    """old_class, voted_class, texts: what was changed into what, the commonest first."""
    changed = votes.where(F.col("decision") == "changed")
    return (
        changed.groupBy("old_class", "voted_class")
        .agg(F.count("*").alias("texts"))
        .orderBy(F.desc("texts"), "old_class", "voted_class")
    )


def gather_vote(lake: Lakehouse) -> Vote | None:
    """The latest day's vote; None where there is none."""
    whole = lake.read("short_text_votes")
    found = whole.agg(F.max("as_of")).head()
    if found is None or found[0] is None:
        return None
    votes = whole.where(F.col("as_of") == F.lit(found[0]))
    counted = {
        row["decision"]: row["n"] for row in votes.groupBy("decision").agg(F.count("*").alias("n")).collect()
    }
    total = sum(counted.values())
    shown = flips(votes).limit(_FLIPS + 200).collect()
    return Vote(
        day=found[0],
        texts=total,
        decisions=[(name, counted[name], counted[name] / total) for name in DECISIONS if name in counted],
        flips=[
            (row["old_class"] or "none", row["voted_class"], row["texts"], row["texts"] / shown[0]["texts"])
            for row in shown[:_FLIPS]
        ],
        more_flips=max(0, len(shown) - _FLIPS),
        examples=_examples(lake, votes),
    )


def _examples(lake: Lakehouse, votes: DataFrame) -> list[Example]:
    """Changed texts of different classes: of each pair of classes the one with the most votes, ties by
    news_id."""
    changed = votes.where(F.col("decision") == "changed")
    best = F.min_by(
        F.struct("news_id", "old_class", "voted_class", "votes", "neighbours"),
        F.struct((-F.col("votes")).alias("v"), "news_id"),
    )
    of_pair = changed.groupBy("old_class", "voted_class").agg(best.alias("best"), F.count("*").alias("texts"))
    chosen = (
        of_pair.orderBy(F.desc("texts"), "old_class", "voted_class")
        .limit(_EXAMPLES)
        .select("best.*", "texts")
    )
    titled = (
        chosen.join(lake.read("news").select("news_id", "title"), on="news_id", how="left")
        if lake.exists("news")
        else None
    )
    rows = (chosen.withColumn("title", F.lit(None).cast("string")) if titled is None else titled).collect()
    rows = sorted(rows, key=lambda row: (-row["texts"], row["old_class"] or "", row["voted_class"]))
    return [
        Example(
            news_id=row["news_id"],
            title=row["title"] or row["news_id"],
            old=row["old_class"] or "none",
            new=row["voted_class"],
            votes=row["votes"],
            ballots=[(near["class"], near["class"] == row["voted_class"]) for near in row["neighbours"]],
        )
        for row in rows
    ]


def gather_classifiers(lake: Lakehouse) -> list[Classifier] | None:
    """Each kind of text classifier that was trained: the one on the most texts; None where there is none."""
    fields = (
        "trained_on",
        "network",
        "texts",
        F.size("classes").alias("classes"),
        "accuracy",
        "calibration_error",
        "model_run",
    )
    rows = (
        lake.read("text_classifiers")
        .select(*fields)
        .orderBy("trained_on", "network", F.desc("texts"), "model_run")
        .limit(100)
        .collect()
    )
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for row in rows:
        seen[row["trained_on"], row["network"]] += 1
        if seen[row["trained_on"], row["network"]] == 1:
            found.append(
                Classifier(
                    *(
                        row[name]
                        for name in (
                            "trained_on",
                            "network",
                            "texts",
                            "classes",
                            "accuracy",
                            "calibration_error",
                        )
                    )
                )
            )
    return found or None
