"""Decisions on models as people read them: the names of both, which is in use, and the lines of a run's
summary."""

from datetime import datetime, timedelta

from newslake.pipeline.summary import promoted
from newslake.reports.decisions import verdicts
from newslake.switches.promotions import NONE, Comparison, Decision

AT = datetime(2019, 11, 15)


def decision(
    number: int, run_id: str, name: str | None, came: bool, in_use: str, comparison: Comparison | None
) -> Decision:
    by = "train_recommender" if comparison else "promote"
    return Decision(
        "recommender", run_id, by, AT + timedelta(hours=number), came, name, "asked for", in_use, comparison
    )


DECISIONS = [
    decision(0, "r1", "dssm", True, NONE, Comparison("auc", 0.69604, 0.6064, 0.08964, 0.07, 0.11, 900)),
    decision(1, "r2", "nrms", False, "r1", Comparison("auc", 0.69, 0.69604, -0.00604, -0.02, 0.01, 900)),
    decision(2, "r3", "nrms", True, "r1", Comparison("auc", 0.7, 0.69604, 0.00396, -0.009, 0.02, 900)),
    decision(3, "r1", "dssm", True, "r3", None),
]


def test_the_latest_promoted_is_in_use_and_each_is_named_by_its_model() -> None:
    found = verdicts(DECISIONS)
    assert [(one.name, one.against, one.metric, one.is_in_use) for one in found] == [
        ("dssm", "nrms", "", True),
        ("nrms", "dssm", "AUC", False),
        ("nrms", "dssm", "AUC", False),
        ("dssm", "zero-shot", "AUC", False),
    ]
    assert [one.is_in_use for one in verdicts(DECISIONS[:3])] == [True, False, False]
    none = verdicts([*DECISIONS, decision(4, NONE, None, True, "r1", None)])[0]
    assert (none.name, none.against, none.is_in_use) == ("zero-shot", "dssm", True)
    assert len(verdicts(DECISIONS * 5)) == 8
    assert verdicts([]) == []


def test_the_summary_says_both_figures_and_what_came_of_them() -> None:
    lines = [" ".join(line.split()) for line in promoted(verdicts(DECISIONS)).splitlines()]
    assert lines == [
        "On test, against what was in use",
        "recommender dssm promoted: asked for, in use",
        "recommender AUC nrms 0.7000 against dssm 0.6960 +0.0040 [-0.0090, +0.0200]: promoted",
        (
            "recommender AUC nrms 0.6900 against dssm 0.6960 -0.0060 [-0.0200, +0.0100]: not promoted (worse,"
            " or too few impressions to tell)"
        ),
        "recommender AUC dssm 0.6960 against zero-shot 0.6064 +0.0896 [+0.0700, +0.1100]: promoted",
    ]
    assert promoted([]) == ""
