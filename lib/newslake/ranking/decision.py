"""The decision on a ranker: judged on the test candidates against what is in use, which it replaces unless it
is worse."""

from collections.abc import Callable

from pyspark.sql import DataFrame

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import judge, ranker
from newslake.ranking.examples import SHOWN
from newslake.ranking.options import FormulaOptions
from newslake.ranking.ranker import Ranker
from newslake.ranking.recommended import recommender_of
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.switches.promotions import decide, in_use

JOB = "train_ranker"


def judge_and_decide(
    lake: Lakehouse,
    run: JobRun,
    test: Callable[[Ranker], DataFrame],
    fitted: Ranker,
    models: Place,
    formula: FormulaOptions,
    *,
    tolerance: float,
    resamples: int,
) -> None:
    """Judge a ranker against what is in use on the test candidates, and write the decision.

    Args:
        lake, run: as given to the job.
        test: the test candidates with the features of a ranker.
        fitted: the ranker.
        models: the folder with rankers and recommenders.
        formula: what is in use where no ranker is.
        tolerance, resamples: of the comparison.
    """
    other = usable(run, models, in_use(lake, "ranker", without=(fitted.run_id, JOB)))
    names = [fitted.run_id, *([] if other is None else [other.run_id])]
    apart = other is not None and other.recommender != fitted.recommender
    together = {one.run_id: one.scorer() for one in (fitted, None if apart else other) if one is not None}
    with Frames() as frames:
        rows = judge.scored(test(fitted), together, formula)
        if other is not None and apart:  # its features are others, by the recommender that it has learnt with
            scores_of_other = judge.scored(test(other), {other.run_id: other.scorer()}, formula)
            rows = rows.join(
                scores_of_other.select("query", "news_id", other.run_id), on=["query", "news_id"], how="inner"
            )
        rows = frames.keep(rows)
        scores = (judge.FORMULA, *names)
        sums = judge.sums_of(rows, scores, resamples=resamples, seed=0)
        of_shown = judge.sums_of(rows.where(SHOWN), scores, resamples=1, seed=0)
    if fitted.run_id not in sums:
        raise UserError("no test impression has both a click and another candidate: raise --test-hours")
    for name in scores:
        value, listed = sums[name][0], of_shown.get(name)
        told = f"{value[1] / value[0]:.4f}" + (
            "" if listed is None else f" (among those shown alone: {listed[0, 1] / listed[0, 0]:.4f})"
        )
        run.fact(f"test nDCG@10 of {name}", told)
    comparison = judge.comparison(sums, fitted.run_id, judge.FORMULA if other is None else other.run_id)
    decision = decide(lake, "ranker", fitted.run_id, fitted.settings.kind, JOB, comparison, tolerance)
    run.wrote("promotions", 1)
    run.fact("in use before", decision.in_use)
    run.fact("promoted", "yes" if decision.promoted else "no")
    run.progress(
        f"ranker {fitted.run_id} {'promoted' if decision.promoted else 'not promoted'}: {decision.reason}"
    )


def usable(run: JobRun, models: Place, run_id: str | None) -> Ranker | None:
    """The ranker of a run; None, saying why, where it cannot be loaded: the formula stands for it then."""
    if run_id is None:
        return None
    try:
        found = ranker.load(models, run_id)
        recommender_of(models, found)
        return found
    except UserError as error:
        run.fact("ranker in use, not usable", error)
        run.progress(f"the formula stands for ranker {run_id}, which is in use: {error}")
        return None
