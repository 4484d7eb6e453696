"""Which trained model of a kind is in use: table promotions keeps every decision, and the latest promoted one
counts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import utc_now
from newslake.spark.frames import frame_of

TABLE = "promotions"
NONE = "none"
"""Stands for a run where none is in use: what there is without any, such as the newsfeed's formula."""
Kind = Literal["ranker", "recommender"]
WITHOUT: dict[str, str] = {"ranker": "formula", "recommender": "zero-shot"}
"""What NONE is compared as."""
_BY_HAND = "promote"


@dataclass(frozen=True)
class Comparison:
    """A metric of a run and of what is in use, on the same impressions.

    Attributes:
        low, high: the difference's interval, of 95 %.
    """

    metric: str
    value: float
    in_use_value: float
    difference: float
    low: float
    high: float
    impressions: int

    def is_not_worse(self, tolerance: float) -> bool:
        """Whether the run is worse by at most the tolerance, with the certainty of the interval: too few
        impressions tell nothing."""
        return self.low >= -tolerance


@dataclass(frozen=True)
class Decision:
    """A row of table promotions; see schemas/promotions.sql."""

    kind: str
    run_id: str
    decided_by: str
    decided_at: datetime
    promoted: bool
    name: str | None
    reason: str
    in_use: str
    comparison: Comparison | None = None


_FIGURES = tuple(field.name for field in fields(Comparison))
_HEAD = tuple(field.name for field in fields(Decision) if field.name != "comparison")


def compared(
    metric: str, sums: npt.NDArray[np.float64], in_use_sums: npt.NDArray[np.float64], impressions: int
) -> Comparison:
    """Means and the interval of their difference out of the sums of paired resamples.

    Args:
        metric: its name.
        sums, in_use_sums: (resamples + 1, 2): weight and weighted sum of the metric; row 0 is all
            impressions, once each.
        impressions: how many those are.
    """
    full = sums[:, 0] > 0  # a resample of few impressions may come out empty: it says nothing
    own, other = sums[full, 1] / sums[full, 0], in_use_sums[full, 1] / in_use_sums[full, 0]
    low, high = (float(x) for x in np.percentile((own - other)[1:], (2.5, 97.5)))
    return Comparison(
        metric, float(own[0]), float(other[0]), float(own[0] - other[0]), low, high, impressions
    )


@dataclass(frozen=True)
class Standing:
    """What the decisions say is in use: a run (NONE where none is), and which model it is."""

    run_id: str
    name: str | None = None


def standing(lake: Lakehouse, kind: Kind, *, without: tuple[str, str] | None = None) -> Standing | None:
    """What is in use by the decisions; None where there is no decision on any run.

    Args:
        lake: where the tables live.
        kind: of model.
        without: a run and the job that decided on it, whose decisions do not count: that run is judged anew.
    """
    decisions = [one for one in history(lake, kind) if (one.run_id, one.decided_by) != without]
    promoted = [Standing(one.run_id, one.name) for one in decisions if one.promoted]
    return [Standing(NONE), *promoted][-1] if decisions else None


def in_use(lake: Lakehouse, kind: Kind, *, without: tuple[str, str] | None = None) -> str | None:
    """The run that is in use, as `standing` has it; None where there is none."""
    found = standing(lake, kind, without=without)
    return None if found is None or found.run_id == NONE else found.run_id


def kept(lake: Lakehouse, kind: Kind) -> set[str]:
    """The runs that must not be deleted: the one in use, and the one that `--previous` goes back to."""
    return set(_stack(history(lake, kind))[-2:]) - {NONE}


def decide(
    lake: Lakehouse,
    kind: Kind,
    run_id: str,
    name: str,
    by: str,
    comparison: Comparison,
    tolerance: float,
    *,
    note: str = "",
) -> Decision:
    """Promote a run unless it is worse than what is in use, and write the decision in place of that job's
    earlier ones on the run.

    Args:
        lake: where the tables live.
        kind: of model.
        run_id, name: the run, and which model it is.
        by: the job that decides.
        comparison: of the run with what is in use.
        tolerance: by how much the run's metric may be lower.
        note: what else there is to say of the comparison.
    """
    better = comparison.is_not_worse(tolerance)
    interval = f"{comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    told = (
        f"{comparison.metric} on test {interval}, where {-tolerance:+.4f} would do"
        if tolerance
        else f"{comparison.metric} {interval}"
    )
    reason = f"not worse: {told}" if better else f"worse, or too few impressions to tell: {told}"
    return _decision(
        lake, kind, run_id, name, by, better, f"{reason}; {note}" if note else reason, comparison
    )


def decline(lake: Lakehouse, kind: Kind, run_id: str, name: str, by: str, reason: str) -> Decision:
    """Write that a run could not be compared with what is in use, which stays, in place of that job's earlier
    decisions on the run."""
    return _decision(lake, kind, run_id, name, by, False, f"not compared: {reason}", None)


def _decision(
    lake: Lakehouse,
    kind: Kind,
    run_id: str,
    name: str,
    by: str,
    promoted: bool,
    reason: str,
    comparison: Comparison | None,
) -> Decision:
    before = in_use(lake, kind, without=(run_id, by)) or NONE
    decision = Decision(kind, run_id, by, _now(lake, kind), promoted, name, reason, before, comparison)
    _write(lake, decision)
    return decision


def decided(lake: Lakehouse, kind: Kind, run_id: str, by: str) -> Decision | None:
    """The job's latest decision on a run."""
    return next(
        (one for one in reversed(history(lake, kind)) if (one.run_id, one.decided_by) == (run_id, by)), None
    )


def promote(
    lake: Lakehouse, run: JobRun, *, kind: Kind, run_id: str | None = None, previous: bool = False
) -> None:
    """Bring a trained model into use by hand, such as the one before, where the present one has turned out
    bad.

    One row of table promotions, where all decisions stay. Nothing is written where the model is in use
    already.

    Args:
        kind: Of model.
        run_id: A run that table promotions knows of, promoted or not; none: use no trained model.
        previous: The run that was in use before the present one.
    """
    decisions = history(lake, kind)
    if (run_id is None) == (not previous):
        raise UserError("say what to bring into use: either --run-id RUN or --previous")
    if not decisions:
        raise UserError(f"no {kind} was ever judged in {lake}: run jobs/train_{kind}.py first")
    now = in_use(lake, kind) or NONE
    wanted = _before(decisions, kind) if run_id is None else run_id
    known = {one.run_id: one.name for one in decisions}
    if wanted != NONE and wanted not in known:
        raise UserError(f"--run-id {wanted}: no such {kind}; there are: {', '.join(sorted({NONE, *known}))}")
    run.fact("in use before", now)
    run.fact("in use", wanted)
    if wanted == now:
        run.progress(f"{kind} {wanted} is in use already")
        return
    _write(
        lake, Decision(kind, wanted, _BY_HAND, _now(lake, kind), True, known.get(wanted), "asked for", now)
    )
    run.wrote(TABLE, 1)
    run.progress(f"{kind} {wanted} is in use now, in place of {now}")


def _before(decisions: Sequence[Decision], kind: str) -> str:
    """What was in use before the present one."""
    stack = _stack(decisions)
    if len(stack) < 2:
        raise UserError(f"no {kind} is in use, so there is none before it: choose one with --run-id")
    return stack[-2]


def _stack(decisions: Sequence[Decision]) -> list[str]:
    """The run in use last, before it what each step back leads to: one further each time, not to and fro;
    NONE is the first."""
    stack = [NONE]
    for one in decisions:
        if one.promoted:
            stack = stack[: stack.index(one.run_id) + 1] if one.run_id in stack else [*stack, one.run_id]
    return stack


def _now(lake: Lakehouse, kind: Kind) -> datetime:
    """The present time, and later than all decisions: a clock that was put back must not make one of the
    past."""
    now = utc_now()
    latest = max((one.decided_at for one in history(lake, kind)), default=now)
    return max(now, latest + timedelta(microseconds=1))


def history(lake: Lakehouse, kind: Kind) -> list[Decision]:
    """All decisions on a kind of model, of which there are as many as trainings, the latest last."""
    if not lake.exists(TABLE):
        return []
    rows = lake.read(TABLE).where(F.col("kind") == kind).select(*_HEAD, *_FIGURES).collect()
    found = []
    for row in rows:
        comparison = None if row["metric"] is None else Comparison(**{name: row[name] for name in _FIGURES})
        found.append(Decision(**{name: row[name] for name in _HEAD}, comparison=comparison))
    return sorted(found, key=lambda one: (one.decided_at, one.run_id))


def _write(lake: Lakehouse, decision: Decision) -> None:
    judged = decision.comparison
    figures = [None if judged is None else getattr(judged, name) for name in _FIGURES]
    head = [getattr(decision, name) for name in _HEAD]
    frame = frame_of(lake.spark, [(*head, *figures)], lake.schema(TABLE)).coalesce(1)
    if decision.decided_by == _BY_HAND:
        lake.merge(TABLE, frame)
    else:
        where = {"kind": decision.kind, "run_id": decision.run_id, "decided_by": decision.decided_by}
        lake.replace(TABLE, frame, where=where)
