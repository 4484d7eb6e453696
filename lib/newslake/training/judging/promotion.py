"""The decision on a trained recommender: judged on test against the one in use, which it replaces unless it
is worse."""

from typing import TYPE_CHECKING

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import option_group
from newslake.switches.promotions import Decision, Kind, compared, decide, decided, decline, in_use
from newslake.training.data.time_splits import TEST

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.data.preparation import Prepared
    from newslake.training.metrics import Floats, ImpressionMetrics
    from newslake.training.models.saved import SavedModel
    from newslake.training.runs import Place

JOB = "train_recommender"
METRIC = "auc"
"""What chose the epoch and what is reported first. It counts every candidate, and vectors are served to find
the best of many."""
ZERO_SHOT = "zero-shot"


@option_group
class Promotion:
    """Whether a model that has a test may come into use, and how it is compared with the one in use.

    Attributes:
        promote: Bring the model into use unless its AUC on test is worse than that of the recommender in use
            (zero-shot where there is none). Only with a test, and only nrms and dssm: the others know users
            by id, and could not serve a new one.
        tolerance: By how much AUC on test may be lower than that of the recommender in use.
        resamples: Resamples of the bootstrap that decides.
    """

    promote: bool = True
    tolerance: float = 0.01
    resamples: int = 1000

    def __post_init__(self) -> None:
        if self.tolerance < 0 or self.resamples < 1:
            raise UserError("--tolerance must be 0 or more, --resamples at least 1")


BY_DEFAULT = Promotion()


def decide_on(
    lake: Lakehouse,
    run: JobRun,
    prepared: "Prepared",
    run_id: str,
    place: "Place",
    promotion: Promotion,
    *,
    again: bool = False,
) -> None:
    """Judge a saved run on test against what is in use, and write the decision, unless the job has decided on
    the run before.

    Args:
        lake, run: as given to the job.
        prepared: what the run was trained on, with test.
        run_id: of the training.
        place: where models lie, and the device.
        promotion: options.
        again: judge it though that was done before.
    """
    from newslake.training.models import MODELS, model_class
    from newslake.training.models.saved import load_saved

    saved = load_saved(place.models, run_id)
    name = saved.settings.model
    if not promotion.promote or TEST not in prepared.staged.sizes:
        run.fact(
            "promoted",
            "not judged: --no-promote" if not promotion.promote else "not judged: there is no test",
        )
        return
    if not model_class(name).reads_history:
        served = " or ".join(sorted(one for one, kind in MODELS.items() if kind.reads_history))
        run.fact(
            "promoted", f"not judged: {name} knows users by id, so that only {served} can serve new ones"
        )
        return
    decision = decided(lake, "recommender", run_id, JOB)
    if decision is None or again:
        decision = _judged(lake, run, prepared, saved, place, promotion)
        run.wrote("promotions", 1)
    run.fact("in use before", decision.in_use)
    run.fact("promoted", "yes" if decision.promoted else "no")
    run.progress(f"{name} {run_id} {'promoted' if decision.promoted else 'not promoted'}: {decision.reason}")


def _judged(
    lake: Lakehouse,
    run: JobRun,
    prepared: "Prepared",
    saved: "SavedModel",
    place: "Place",
    promotion: Promotion,
) -> Decision:
    from newslake.training.judging.on_test import of_run, of_zero_shot, paired_sums

    which: tuple[Lakehouse, Kind, str, str, str] = (
        lake,
        "recommender",
        saved.run_id,
        saved.settings.model,
        JOB,
    )
    present = in_use(lake, "recommender", without=(saved.run_id, JOB))
    other, problem = _in_use(place, present)
    if other is not None and (why := _why_not(other, prepared)):
        return decline(*which, why)
    found = {saved.run_id: of_run(lake, prepared, saved, place), ZERO_SHOT: of_zero_shot(prepared)}
    if not len(found[ZERO_SHOT].impression):
        return decline(*which, "no impression of test has both a click and a skip: choose more --test-hours")
    if other is not None:
        try:
            found[other.run_id] = of_run(lake, prepared, other, place)
        except UserError as error:
            other, problem = None, str(error)
    for one, metrics in found.items():
        run.fact(f"test AUC of {one}", f"{_of(metrics).mean():.4f}")
    note = f"zero-shot stands for {present}, which is in use and cannot be: {problem}" if problem else ""
    pair = [found[saved.run_id], found[ZERO_SHOT if other is None else other.run_id]]
    keys = pair[0].impression
    own, others = paired_sums(keys, [_of(one) for one in pair], resamples=promotion.resamples, seed=0)
    comparison = compared(METRIC, own, others, len(keys))
    return decide(*which, comparison, promotion.tolerance, note=note)


def _of(metrics: "ImpressionMetrics") -> "Floats":
    return metrics.auc


def _in_use(place: "Place", run_id: str | None) -> "tuple[SavedModel | None, str]":
    """The model in use, and why it cannot be read."""
    from newslake.training.models.saved import load_saved

    if run_id is None:
        return None, ""
    try:
        return load_saved(place.models, run_id), ""
    except UserError as error:
        return None, str(error)


def _why_not(other: "SavedModel", prepared: "Prepared") -> str:
    """Why the comparison would not be fair."""
    until, test = other.known_until, prepared.known_until
    if until is not None and test is not None and until > test:
        return (
            f"{other.run_id}, which is in use, learnt from impressions until {until:%Y-%m-%d %H:%M}, after"
            " the start of test"
        )
    staged = prepared.staged.sizes["max_history"]
    if other.settings.history > staged:
        return (
            f"{other.run_id}, which is in use, reads {other.settings.history} clicks, and only --max-history"
            f" {staged} are staged"
        )
    return ""
