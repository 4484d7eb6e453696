"""Table promotions: which run is in use, what decides it, and the way back."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.switches.promotions import (
    NONE,
    Comparison,
    Kind,
    Standing,
    compared,
    decide,
    decided,
    decline,
    history,
    in_use,
    kept,
    promote,
    standing,
)

BY = "train_ranker"


def judge(
    lake: Lakehouse, run_id: str, low: float, *, kind: Kind = "ranker", tolerance: float = 0.01
) -> bool:
    """A decision on a run whose difference is at least `low`."""
    comparison = Comparison("ndcg_at_10", 0.3, 0.2, 0.1, low, 0.2, 50)
    return decide(lake, kind, run_id, "trees", BY, comparison, tolerance).promoted


def ask(lake: Lakehouse, **options: object) -> JobRun:
    """One run of the job."""
    run = JobRun("promote")
    promote(lake, run, **{"kind": "ranker", **options})  # type: ignore[arg-type]
    return run


def test_the_latest_promoted_run_is_in_use_and_the_way_back_leads_step_by_step(lake: Lakehouse) -> None:
    assert in_use(lake, "ranker") is None
    assert judge(lake, "A", 0.05)
    assert judge(lake, "B", -0.009)
    assert not judge(lake, "C", -0.011)
    assert judge(lake, "R", 0.0, kind="recommender")
    assert (in_use(lake, "ranker"), in_use(lake, "recommender")) == ("B", "R")
    assert judge(lake, "D", 0.02)
    wanted = ["B", "A", NONE]
    for run_id in wanted:
        run = ask(lake, previous=True)
        assert run.facts["in use"] == run_id
        assert (in_use(lake, "ranker") or NONE) == run_id
    with pytest.raises(UserError, match="no ranker is in use"):
        ask(lake, previous=True)
    ask(lake, run_id="C")  # judged worse: somebody may want it all the same
    rows = lake.read("promotions").count()
    ask(lake, run_id="C")
    assert in_use(lake, "ranker") == "C"
    assert lake.read("promotions").count() == rows == 5 + len(wanted) + 1
    assert in_use(lake, "recommender") == "R"


def test_a_run_judged_again_has_one_decision_and_is_not_compared_with_itself(lake: Lakehouse) -> None:
    judge(lake, "A", 0.05)
    judge(lake, "B", 0.05)
    assert in_use(lake, "ranker", without=("B", BY)) == "A"
    judge(lake, "B", -1.0)
    assert in_use(lake, "ranker") == "A"
    rows = lake.read("promotions").where("run_id = 'B'").collect()
    assert [(row["promoted"], row["in_use"], row["low"]) for row in rows] == [(False, "A", -1.0)]
    found = decided(lake, "ranker", "B", BY)
    assert found is not None
    assert "worse" in found.reason
    assert decided(lake, "ranker", "B", "another job") is None
    # A clock that was put back makes no decision one of the past.
    ahead = (
        lake.read("promotions")
        .where("run_id = 'A'")
        .withColumn("decided_at", F.lit("2100-01-01").cast("timestamp"))
    )
    lake.replace("promotions", ahead, where={"run_id": "A"})
    judge(lake, "E", 0.05)
    assert in_use(lake, "ranker") == "E"


def test_what_no_decision_speaks_of_is_told_from_what_none_brought_into_use(lake: Lakehouse) -> None:
    assert standing(lake, "recommender") is None
    found = decline(lake, "recommender", "A", "nrms", BY, "there is no click")
    assert (found.promoted, found.reason, found.comparison) == (
        False,
        "not compared: there is no click",
        None,
    )
    assert standing(lake, "recommender") == Standing(NONE)
    assert (in_use(lake, "recommender"), kept(lake, "recommender")) == (None, set())
    for run_id in ("B", "C", "D"):
        assert judge(lake, run_id, 0.05, kind="recommender")
    assert standing(lake, "recommender") == Standing("D", "trees")
    assert kept(lake, "recommender") == {"C", "D"}
    last = history(lake, "recommender")[-1]
    assert last.comparison == Comparison("ndcg_at_10", 0.3, 0.2, 0.1, 0.05, 0.2, 50)


def test_the_interval_is_that_of_paired_means() -> None:
    draw = np.random.default_rng(0)
    own, other = draw.random(200), draw.random(200)
    counts = np.vstack([np.ones(200), draw.poisson(1.0, (400, 200))])
    sums = [np.stack([counts.sum(axis=1), counts @ values], axis=1) for values in (own, other)]
    found = compared("ndcg_at_10", sums[0], sums[1], 200)
    assert (found.value, found.in_use_value) == pytest.approx((own.mean(), other.mean()))
    resampled = [
        (own[rows] - other[rows]).mean() for rows in (draw.integers(0, 200, 200) for _ in range(2000))
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(resampled, (2.5, 97.5))), abs=0.015)
    assert found.difference == pytest.approx(own.mean() - other.mean())


def test_mistakes_are_told(lake: Lakehouse) -> None:
    with pytest.raises(UserError, match=r"no ranker was ever judged .*: run jobs/train_ranker.py"):
        ask(lake, previous=True)
    judge(lake, "A", 0.05)
    for options, message in (
        ({}, "either --run-id"),
        ({"run_id": "A", "previous": True}, "either"),
        ({"run_id": "X"}, "no such ranker; there are: A, none"),
    ):
        with pytest.raises(UserError, match=message):
            ask(lake, **options)
