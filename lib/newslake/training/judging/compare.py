"""The job compare_models: several models on one split, with confidence intervals, in one table."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.remote import remove
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.options import utc_now
from newslake.spark.connect import refuse_processes
from newslake.spark.frames import Frames, frame_of
from newslake.training.data.fingerprint import combined
from newslake.training.data.preparation import Prepared, prepare
from newslake.training.data.time_splits import NOT_BY_TIME, TEST, VALID, TimeSplits
from newslake.training.options import DATA, PLACE, DataOptions, PlaceOptions

TABLE = "model_comparison"
ZERO_SHOT, WITH_CONTEXT = "zero-shot", "+context"
GROUPS = ("all", "at_least_5_clicks", "no_clicks", "new_users")


def compare_models(
    lake: Lakehouse,
    run: JobRun,
    *,
    models: tuple[str, ...] = (ZERO_SHOT, "mf", "content", "dssm", "nrms"),
    reference: str = ZERO_SHOT,
    seeds: tuple[int, ...] = (0,),
    epochs: int | None = None,
    history: int = 50,
    data: DataOptions = DATA,
    by_time: TimeSplits = NOT_BY_TIME,
    context: bool = False,
    resamples: int = 1000,
    where: PlaceOptions = PLACE,
    processes: int = 1,
) -> None:
    """Compare models on the same impressions, with confidence intervals, and print the table.

    They are those of test, where impressions are split by time (--as-of), or else of valid, which chose each
    model's epoch. Each model is trained with its defaults as train_recommender does, unless that run is there
    already. Writes model_comparison, and what training writes. Intervals hold 95 % of the resamples of a
    bootstrap over impressions; differences from the reference use the same resamples for both.

    Args:
        models: Which models; zero-shot (no training: the mean of the history's embeddings, by cosine) is one
            of them.
        reference: The model that others are compared with.
        seeds: Every model but zero-shot is trained once with each.
        epochs: Passes over the clicks at most (default: each model's own).
        history: Latest clicks that a model reads; at most max-history.
        context: Whether each model is judged a second time, with the candidates' popularity until the moment
            of showing and their age added to its scores, by weights fitted on valid; without a test on a
            fifth of valid, by which no model is judged then.
        resamples: Resamples of the bootstrap.
        processes: Processes that train together.
    """
    from newslake.training.data.loading import load_catalogue
    from newslake.training.judging.judged import judged
    from newslake.training.models import model_class
    from newslake.training.models.settings import settings_for
    from newslake.training.runs import trained_run

    names = list(dict.fromkeys([reference, *models]))
    given = {"epochs": epochs, "history": history, "skips": 4, "processes": processes}
    settings = [
        settings_for(name, seed=seed, **given)
        for name in names
        if name != ZERO_SHOT
        for seed in dict.fromkeys(seeds)
    ]
    if resamples < 1 or not seeds:
        raise UserError("--resamples must be at least 1, and --seeds at least one")
    refuse_processes(lake.spark, processes)
    place = where.place(lake)
    prepared = prepare(lake, run, place.staging, data.inputs(by_time, history=history), with_vectors=True)
    runs = {ZERO_SHOT: ZERO_SHOT} if ZERO_SHOT in names else {}
    without = replace(prepared, vectors=None, encoder_id=None)
    for of_run in settings:
        of_model = prepared if model_class(of_run.model).needs_vectors else without
        runs[trained_run(lake, run, of_model, of_run, place)] = of_run.model
    first = next(run_id for run_id, model in runs.items() if model == reference)
    scratch = place.staging / f"comparison.tmp-{secrets.token_hex(4)}"
    try:
        catalogue = load_catalogue(prepared.staged, prepared.vectors)
        with Frames() as frames:
            metrics = frames.keep(
                judged(lake, run, prepared, catalogue, runs, place, scratch, context=context)
            )
            sums = _sums(metrics, resamples)
            runs |= {
                f"{run_id}{WITH_CONTEXT}": f"{model}{WITH_CONTEXT}"
                for run_id, model in runs.items()
                if context
            }
            comparison_id = combined(
                {"data": prepared.staged.fingerprint, "runs": runs, "resamples": resamples}
            )
            rows = comparison_rows(sums, runs, first, comparison_id, split=reported_on(prepared))
    finally:
        remove(scratch)
    frame = frame_of(lake.spark, [tuple(vars(row).values()) for row in rows], lake.schema(TABLE)).coalesce(1)
    run.wrote(TABLE, lake.replace(TABLE, frame, where={"comparison_id": rows[0].comparison_id}).rows)
    run.fact("comparison", rows[0].comparison_id)
    print(as_text(rows))


@dataclass(frozen=True)
class Row:
    """A row of model_comparison; see schemas/model_comparison.sql."""

    comparison_id: str
    model: str
    run_id: str
    users: str
    metric: str
    value: float
    low: float
    high: float
    over_reference: float
    over_reference_low: float
    over_reference_high: float
    reference: str
    impressions: int
    compared_at: datetime
    split: str


def comparison_rows(
    sums: Mapping[tuple[str, str], npt.NDArray[np.float64]],
    runs: Mapping[str, str],
    reference: str,
    comparison_id: str,
    *,
    split: str = VALID,
) -> list[Row]:
    """Means, intervals and differences out of the sums of resamples.

    Args:
        sums: by run and group of users, (resamples + 1, 1 + metrics): weight and sums of metrics; row 0 is
            all impressions as they are.
        runs: model by run.
        reference: run that the others are compared with.
        comparison_id: of all rows.
        split: the role of the impressions, valid or test.
    """
    from newslake.training.judging.spark_evaluate import METRICS

    now = utc_now()
    found = []
    for run_id, model in runs.items():
        for group in (group for group in GROUPS if (run_id, group) in sums):
            own, other = sums[run_id, group], sums[reference, group]
            # A resample of few impressions may come out empty: it says nothing.
            full = own[:, 0] > 0
            means, differences = (
                own[full, 1:] / own[full, :1],
                (own[full, 1:] - other[full, 1:]) / own[full, :1],
            )
            for place, metric in enumerate(METRICS):
                low, high = (float(x) for x in np.percentile(means[1:, place], (2.5, 97.5)))
                less, more = (float(x) for x in np.percentile(differences[1:, place], (2.5, 97.5)))
                value, over = float(means[0, place]), float(differences[0, place])
                interval = (value, low, high, over, less, more, reference, int(own[0, 0]), now, split)
                found.append(Row(comparison_id, model, run_id, group, metric, *interval))
    return found


def reported_on(prepared: Prepared) -> str:
    """The role of the impressions that models are reported on: test where there is one, else valid."""
    return TEST if TEST in prepared.staged.sizes else VALID


def as_text(rows: Iterable[Row]) -> str:
    """The rows' AUCs and the other metrics of all users, as a table to print."""
    rows = list(rows)
    head = f"{'model':<10} {'run':<17} {'users':<18} {'impressions':>11}  {'AUC':<24} {'over reference':<26}"
    lines = [f"on {rows[0].split}:" if rows else "", f"{head} {'MRR':>6} {'nDCG@5':>7} {'nDCG@10':>8}"]
    for row in rows:
        if row.metric != "auc":
            continue
        others = {
            other.metric: other.value
            for other in rows
            if (other.run_id, other.users) == (row.run_id, row.users)
        }
        auc = f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]"
        over = f"{row.over_reference:+.4f} [{row.over_reference_low:+.4f}, {row.over_reference_high:+.4f}]"
        rest = f"{others['mrr']:>6.4f} {others['ndcg_at_5']:>7.4f} {others['ndcg_at_10']:>8.4f}"
        lines.append(
            f"{row.model:<10} {row.run_id:<17} {row.users:<18} {row.impressions:>11,}  {auc:<24} {over:<26}"
            f" {rest}"
        )
    return "\n".join(lines)


def _sums(metrics: DataFrame, resamples: int) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """By run and group: the sums of every resample, of which there are few."""
    from newslake.training.judging.spark_evaluate import METRICS, bootstrap_sums

    conditions = {
        "all": F.lit(True),
        "at_least_5_clicks": F.col("clicks_before") >= 5,
        "no_clicks": F.col("clicks_before") == 0,
        "new_users": F.col("is_new"),
    }
    groups = F.array_compact(
        F.array(*(F.when(condition, F.lit(group)) for group, condition in conditions.items()))
    )
    grouped = metrics.withColumn("group", F.explode(groups)).withColumn(
        "model", F.concat_ws("/", "model", "group")
    )
    found: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    rows: Sequence[Any] = bootstrap_sums(grouped, resamples=resamples, seed=0).collect()
    for row in rows:
        run_id, _, group = row["model"].rpartition("/")
        sums = found.setdefault((run_id, group), np.zeros((resamples + 1, 1 + len(METRICS))))
        sums[row["resample"]] = [row["weight"], *(row[name] for name in METRICS)]
    return found
