"""Metrics of every impression for several trained models: the part of compare_models that reads and
scores."""

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.files.folders import read, written
from newslake.files.remote import Place as Folder
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.training.data.context import beside_candidates, fitted, moments, weighed
from newslake.training.data.loading import Catalogue
from newslake.training.data.preparation import Prepared
from newslake.training.data.time_splits import TEST, VALID
from newslake.training.judging.compare import WITH_CONTEXT, ZERO_SHOT, reported_on
from newslake.training.judging.spark_evaluate import metrics_of, scored, write_vectors
from newslake.training.loop.evaluate import all_vectors
from newslake.training.loop.trainer import torch_device
from newslake.training.models.baseline import zero_shot
from newslake.training.models.saved import load_saved, restore
from newslake.training.runs import Place

# With the context, one impression of so many is fitted on and not judged; of very many fewer, since they are
# collected to the driver.
_ONE_OF, _FITTED_ON = 5, 20_000


def judged(
    lake: Lakehouse,
    run: JobRun,
    prepared: Prepared,
    catalogue: Catalogue,
    runs: Mapping[str, str],
    place: Place,
    scratch: Folder,
    *,
    context: bool,
) -> DataFrame:
    """The metrics of every impression to judge by, for every run.

    These are test, where there is one. With the context, its weights are fitted on valid then; without a test
    on a slice of valid (see `in_fit`), and no run is judged by that. It cannot be a slice of train: a model
    that knows its own training clicks by heart scores them far better than any others, and what else is known
    of a candidate would get no weight.

    Args:
        lake: with the tables impressions and news, for the context.
        run: as given to the job.
        prepared: what was staged.
        catalogue: loaded from it.
        runs: model by run.
        place: where the models lie.
        scratch: folder for vectors, which must stay as long as the result is read.
        context: whether each run comes a second time, with popularity and age.

    Returns:
        model (here the run), impression_key, clicks_before (int), is_new, and the metrics.

    Raises:
        UserError: there are too few impressions to fit the context's weights on some.
    """
    role = reported_on(prepared)
    shown, valid = (_impressions(lake, prepared, part) for part in (role, VALID))
    fit: DataFrame | None = None
    if context:
        fit = valid.where(in_fit(prepared))
        shown = valid.where(~in_fit(prepared)) if role == VALID else shown
        features = _features(lake, prepared, shown.unionByName(fit), scratch)
        run.fact(
            "impressions that the context's weights are fitted on, which no model is judged by", fit.count()
        )
    found: DataFrame | None = None
    for run_id in runs:
        vectors, reader = _vectors(run_id, catalogue, place)
        files = write_vectors(scratch / run_id, *vectors)
        of_run = scored(shown, *files, reader=reader)
        parts = {run_id: of_run}
        if fit is not None:
            weights = fitted(scored(fit, *files, reader=reader), features)
            parts[f"{run_id}{WITH_CONTEXT}"] = weighed(of_run, features, weights)
        for name, rows in parts.items():
            kept = metrics_of(
                rows.select("impression_key", "clicks_before", "is_new", "scores", "labels")
            ).withColumn("model", F.lit(name))
            found = kept if found is None else found.unionByName(kept)
    assert found is not None
    return found


def in_fit(prepared: Prepared) -> Column:
    """Whether an impression of valid, by its impression_key, is fitted on where there is a context; without a
    test it is judged no more.

    A hash of the key says so: the same impressions for every model of a comparison, and none of the order in
    which they came.
    """
    few = 1 if reported_on(prepared) == TEST else _ONE_OF
    one_of = max(few, -(-prepared.staged.sizes[VALID] // _FITTED_ON))
    return F.pmod(F.xxhash64(F.lit("context"), "impression_key"), F.lit(one_of)) == 0


def _features(lake: Lakehouse, prepared: Prepared, shown: DataFrame, scratch: Folder) -> DataFrame:
    """Popularity and age beside the candidates of impressions, written once for all models."""
    columns = ("split", "impression_id", "position", "news_id", "occurred_at", "clicked")
    known = moments(lake.read("impressions").select(*columns), lake.read("news"))
    index = read(lake.spark, prepared.staged.folder / "articles").select("news_id", "article")
    return written(beside_candidates(shown, index, known), scratch / "context")


def _impressions(lake: Lakehouse, prepared: Prepared, role: str) -> DataFrame:
    """Staged impressions with how many clicks came before and whether the user is new."""
    staged = prepared.staged
    lists = read(lake.spark, staged.folder / "histories")
    before = lists.select("history", F.size("articles").alias("clicks_before"))
    impressions = read(lake.spark, staged.folder / role).join(before, on="history", how="left")
    return impressions.select(
        "impression_key",
        "split",
        "impression_id",
        "user",
        "history",
        F.coalesce("clicks_before", F.lit(0)).alias("clicks_before"),
        (F.col("user") >= staged.sizes["users_in_training"]).alias("is_new"),
        "articles",
        "labels",
    )


def _vectors(run_id: str, catalogue: Catalogue, place: Place) -> tuple[tuple[Any, Any], str]:
    if run_id == ZERO_SHOT:
        return zero_shot(catalogue), "history"
    device = torch_device(place.device)
    model = restore(load_saved(place.models, run_id), catalogue).to(device)
    vectors = all_vectors(model, catalogue, device)
    return (
        vectors.users.cpu().numpy(),
        vectors.articles.cpu().numpy(),
    ), "history" if vectors.of_histories else "user"
