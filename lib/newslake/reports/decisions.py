"""What trained models were judged by on test, beside what was in use then, and what became of each: table
promotions."""

from dataclasses import dataclass
from typing import get_args

from newslake.lake.lakehouse import Lakehouse
from newslake.switches.promotions import NONE, WITHOUT, Comparison, Decision, Kind, history

_LAST = 8  # decisions of a kind
_METRICS = {"ndcg_at_10": "nDCG@10", "auc": "AUC"}


@dataclass(frozen=True)
class Verdict:
    """One decision.

    Attributes:
        kind: ranker or recommender.
        name: which model, such as nrms.
        against: what was in use then: a model, or formula or zero-shot where there was none.
        metric: what both were judged by.
        is_in_use: whether the run is in use now.
        decision: the row.
    """

    kind: str
    name: str
    against: str
    metric: str
    is_in_use: bool
    decision: Decision

    @property
    def comparison(self) -> Comparison | None:
        """Both figures; None where somebody asked, or nothing could be compared."""
        return self.decision.comparison


def verdicts(decisions: list[Decision]) -> list[Verdict]:
    """The last decisions on a kind of model, latest first.

    Args:
        decisions: all of them, the latest last.
    """
    names = {one.run_id: one.name or one.run_id for one in decisions}
    # The row that brought into use what is in use now.
    place = max((place for place, one in enumerate(decisions) if one.promoted), default=-1)
    found: list[Verdict] = []
    for one in decisions:
        name, against = (
            WITHOUT[one.kind] if run_id == NONE else names.get(run_id, run_id)
            for run_id in (one.run_id, one.in_use)
        )
        metric = "" if one.comparison is None else _METRICS.get(one.comparison.metric, one.comparison.metric)
        found.append(Verdict(one.kind, name, against, metric, len(found) == place, one))
    return found[: -_LAST - 1 : -1]


def gather_decisions(lake: Lakehouse) -> list[Verdict] | None:
    """The last decisions on rankers, then those on recommenders; None where there is none."""
    return [one for kind in get_args(Kind) for one in verdicts(history(lake, kind))] or None
