"""Metrics of every impression for several trained models: the part of compare_models that reads and scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lakehouse import Lakehouse
from newslake.training.baseline import zero_shot
from newslake.training.compare import WITH_CONTEXT, ZERO_SHOT
from newslake.training.context import beside_candidates, fitted, moments, weighed
from newslake.training.data import Catalogue
from newslake.training.evaluate import all_vectors
from newslake.training.examples import TRAIN, VALID
from newslake.training.folders import read
from newslake.training.preparation import Prepared
from newslake.training.runs import Place
from newslake.training.saved import load_saved, restore
from newslake.training.spark_evaluate import metrics_of, scored, write_vectors
from newslake.training.trainer import torch_device

# Impressions of train that the three weights of the context are fitted on: collected to the driver.
_FITTED_ON = 20_000


def judged(
    lake: Lakehouse, prepared: Prepared, catalogue: Catalogue, runs: Mapping[str, str], place: Place, scratch: Path, *, context: bool
) -> DataFrame:
    """The metrics of every impression to judge by, for every run.

    Args:
        lake: with the tables impressions and news, for the context.
        prepared: what was staged.
        catalogue: loaded from it.
        runs: model by run.
        place: where the models lie.
        scratch: folder for vectors, which must stay as long as the result is read.
        context: whether each run comes a second time, with popularity and age.

    Returns:
        model (here the run), impression_key, clicks_before (int), is_new, and the metrics.
    """
    valid = _impressions(lake, prepared, VALID)
    known: DataFrame | None = None
    if context:
        columns = ("split", "impression_id", "position", "news_id", "occurred_at", "clicked")
        known = moments(lake.read("impressions").select(*columns), lake.read("news"))
    index = read(lake.spark, prepared.staged.folder / "articles").select("news_id", "article")
    found: DataFrame | None = None
    for run_id in runs:
        vectors, reader = _vectors(run_id, catalogue, place)
        files = write_vectors(scratch / run_id, *vectors)
        of_run = scored(valid, *files, reader=reader)
        parts = {run_id: of_run}
        if known is not None:
            one_of = -(-prepared.staged.sizes[TRAIN] // _FITTED_ON)
            train = _impressions(lake, prepared, TRAIN).where(F.pmod("impression_key", F.lit(one_of)) == 0)
            weights = fitted(scored(train, *files, reader=reader), beside_candidates(train, index, known))
            parts[f"{run_id}{WITH_CONTEXT}"] = weighed(of_run, beside_candidates(valid, index, known), weights)
        for name, rows in parts.items():
            kept = metrics_of(rows.select("impression_key", "clicks_before", "is_new", "scores", "labels")).withColumn("model", F.lit(name))
            found = kept if found is None else found.unionByName(kept)
    assert found is not None
    return found


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
    return (vectors.users.cpu().numpy(), vectors.articles.cpu().numpy()), "history" if vectors.of_histories else "user"
