"""Metrics in Spark equal scikit-learn's, confidence intervals are those of a bootstrap, and the job writes
one table of it all."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import ndcg_score, roc_auc_score

from newslake.errors import UserError
from newslake.files.remote import local
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.training.data.loading import Codes, codes_of
from newslake.training.data.preparation import models_folder
from newslake.training.encode_users import encode_users, indexed, latest_clicks
from newslake.training.judging.compare import compare_models, comparison_rows
from newslake.training.judging.spark_evaluate import (
    METRICS,
    bootstrap_sums,
    counts_of,
    metrics_of,
    scored,
    write_vectors,
)
from newslake.training.models.saved import load_saved, restore, save_model
from newslake.training.models.settings import settings_for
from tests.calling import call
from tests.training import frames, worlds
from tests.training.frames import NOON, collected

BEHAVIORS = frames.drawn_behaviors(3, with_history=True)
OPTIONS: dict[str, Any] = {"models": ("zero-shot", "nrms"), "epochs": 2, "resamples": 50}


def test_metrics_in_spark_are_scikit_learns(spark: SparkSession, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    users, articles = (
        random.normal(size=(7, 5)).astype(np.float32),
        random.normal(size=(40, 5)).astype(np.float32),
    )
    articles[3] = articles[4]  # a tie
    rows = []
    for key in range(60):
        shown = random.choice(40, int(random.integers(2, 20)), replace=False).tolist()
        rows.append((key, int(random.integers(7)), shown, [int(x) for x in random.random(len(shown)) < 0.3]))
    frame = frame_of(
        spark, rows, "impression_key bigint, user int, articles array<int>, labels array<tinyint>"
    ).repartition(3)
    with_scores = scored(frame, *write_vectors(tmp_path / "vectors", users, articles), reader="user")
    scores = {row["impression_key"]: row["scores"] for row in with_scores.collect()}
    found = {
        row["impression_key"]: row
        for row in metrics_of(with_scores.select("impression_key", "scores", "labels")).collect()
    }
    both = {key for key, _, _, labels in rows if 0 < sum(labels) < len(labels)}
    assert found.keys() == both
    for key, user, shown, labels in rows:
        assert scores[key] == pytest.approx(articles[shown] @ users[user], abs=1e-5)
        if key in both:
            assert found[key]["auc"] == pytest.approx(roc_auc_score(labels, scores[key]), abs=1e-9)
            for k in (5, 10):
                assert found[key][f"ndcg_at_{k}"] == pytest.approx(
                    ndcg_score([labels], [scores[key]], k=k), abs=1e-9
                )


def test_the_bootstrap_counts_are_poisson_and_the_sums_those_of_weighted_rows(spark: SparkSession) -> None:
    keys = np.arange(400, dtype=np.int64)
    counts = counts_of(keys, 200, seed=1)
    assert counts.mean() == pytest.approx(1.0, abs=0.02)
    assert counts.var() == pytest.approx(1.0, abs=0.03)
    assert [(counts == n).mean() for n in (0, 1, 2)] == pytest.approx(
        [np.exp(-1), np.exp(-1), np.exp(-1) / 2], abs=0.01
    )
    values = np.random.default_rng(0).random((2, 400, 4))
    rows = [(f"m{m}", int(key), *(float(x) for x in values[m, key])) for m in range(2) for key in keys]
    frame = frame_of(
        spark, rows, f"model string, impression_key bigint, {', '.join(f'{name} double' for name in METRICS)}"
    )
    found = {
        (row["model"], row["resample"]): row
        for row in bootstrap_sums(frame.repartition(3), resamples=200, seed=1).collect()
    }
    assert len(found) == 2 * 201
    for m in range(2):
        assert found[f"m{m}", 0]["weight"] == 400
        assert found[f"m{m}", 0]["auc"] == pytest.approx(values[m, :, 0].sum())
        assert found[f"m{m}", 7]["weight"] == counts[:, 6].sum()
        assert found[f"m{m}", 7]["mrr"] == pytest.approx(counts[:, 6] @ values[m, :, 1])


def test_intervals_of_differences_are_paired() -> None:
    random = np.random.default_rng(0)
    weights = random.poisson(1.0, (501, 300)).astype(float)
    weights[0] = 1
    quality = random.random(300)
    sums = {}
    for name, values in (("a", quality), ("b", quality + 0.01)):
        sums[name, "all"] = np.stack([weights.sum(axis=1), *[weights @ values] * 4], axis=1)
    rows = {(row.run_id, row.metric): row for row in comparison_rows(sums, {"a": "x", "b": "y"}, "a", "id")}
    better = rows["b", "auc"]
    assert better.value == pytest.approx(quality.mean() + 0.01)
    spread = 1.96 * quality.std() / np.sqrt(300)
    assert (better.low, better.high) == pytest.approx(
        (better.value - spread, better.value + spread), abs=0.2 * spread
    )
    # The same impressions in both: the difference is 0.01 in every resample, however wide the intervals are.
    assert (better.over_reference, better.over_reference_low, better.over_reference_high) == pytest.approx(
        (0.01, 0.01, 0.01)
    )
    assert rows["a", "mrr"].over_reference == 0.0


@pytest.fixture(scope="module")
def compared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, JobRun]:
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("compared") / "lakehouse"))
    frames.fill(lake, BEHAVIORS, frames.drawn_vectors(3))
    run = JobRun("compare_models")
    call(compare_models, lake, run, **OPTIONS)
    return lake, run


def test_the_table_has_every_model_on_the_same_impressions(compared: tuple[Lakehouse, JobRun]) -> None:
    lake, run = compared
    rows = collected(lake.read("model_comparison"), "model", "users", "metric")
    assert run.rows_written["model_comparison"] == len(rows)
    assert {row["model"] for row in rows} == {"zero-shot", "nrms"}
    assert {row["comparison_id"] for row in rows} == {run.facts["comparison"]}
    auc = {row["model"]: row for row in rows if (row["users"], row["metric"]) == ("all", "auc")}
    assert auc["zero-shot"]["impressions"] == auc["nrms"]["impressions"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["impressions"] > 5)
    kept = lake.read("model_metrics").where("best AND split = 'valid'").head()
    assert kept is not None
    assert auc["nrms"]["run_id"] == kept["run_id"]
    assert auc["nrms"]["value"] == pytest.approx(kept["auc"], abs=1e-6)
    assert auc["nrms"]["impressions"] == kept["impressions"]
    assert auc["zero-shot"]["value"] > 0.6
    assert auc["nrms"]["over_reference"] == pytest.approx(auc["nrms"]["value"] - auc["zero-shot"]["value"])
    without = [
        row
        for row in rows
        if (row["model"], row["users"], row["metric"]) == ("zero-shot", "no_clicks", "auc")
    ]
    shown = [behavior[4] for behavior in BEHAVIORS if behavior[0] == "dev" and not behavior[3]]
    # Nothing to compare candidates with: all of them are equal.
    assert [(row["value"], row["impressions"]) for row in without] == [
        (0.5, sum("-1" in one and "-0" in one for one in shown))
    ]


def test_again_nothing_is_trained_and_listed_impressions_are_another_comparison(
    compared: tuple[Lakehouse, JobRun], tmp_path: Path
) -> None:
    lake, first = compared
    again = JobRun("compare_models")
    call(compare_models, lake, again, **OPTIONS)
    assert again.facts["comparison"] == first.facts["comparison"]
    assert set(again.rows_written) == {"model_comparison"}
    listed = [behavior[1] for behavior in BEHAVIORS if behavior[0] == "dev"][:12]
    (tmp_path / "ids").write_text("\n".join(listed) + "\n")
    few = JobRun("compare_models")
    call(
        compare_models,
        lake,
        few,
        **{**OPTIONS, "models": ("zero-shot",)},
        impressions=str(tmp_path / "ids"),
        context=True,
    )
    assert few.facts["valid impressions"] == "12"
    rows = lake.read("model_comparison").where(
        f"comparison_id = '{few.facts['comparison']}' AND users = 'all' AND metric = 'auc'"
    )
    found = {row["model"]: row for row in rows.collect()}
    assert found.keys() == {"zero-shot", "zero-shot+context"}
    assert found["zero-shot"]["impressions"] == found["zero-shot+context"]["impressions"] <= 12
    assert 0.0 < found["zero-shot+context"]["value"] <= 1.0
    (tmp_path / "ids").write_text("nothing\n")
    with pytest.raises(UserError, match="lists no impression of split dev"):
        call(compare_models, lake, few, **OPTIONS, impressions=str(tmp_path / "ids"))
    with pytest.raises(UserError, match="split train is among both"):
        call(compare_models, lake, few, **OPTIONS, eval_splits=("train",))


def test_users_known_or_new_get_vectors_without_training(compared: tuple[Lakehouse, JobRun]) -> None:
    lake, _ = compared
    trained = {row["user_id"]: row["embedding"] for row in lake.read("user_embeddings").collect()}
    history = frames.click_history(
        lake.spark, [("live", "1", "U99", "N000 N003", "")], lake.schema("click_history")
    )
    lake.replace("click_history", history, where={"split": "live"})
    run = JobRun("encode_users")
    encode_users(lake, run, add_clicks=False)
    found = {row["user_id"]: row["embedding"] for row in lake.read("user_embeddings").collect()}
    assert found.keys() == trained.keys() | {"U99"}
    assert run.rows_read == len(found)
    assert all(found[user] == pytest.approx(trained[user], abs=1e-5) for user in trained)
    articles = {row["news_id"]: row["embedding"] for row in lake.read("news_embeddings").collect()}
    width = 8 + settings_for("nrms", seed=0, skips=4).dim  # embeddings of 8 numbers
    assert {len(vector) for vector in (*found.values(), *articles.values())} == {width}
    again = JobRun("encode_users")
    encode_users(lake, again, add_clicks=False)
    assert again.rows_written == {"user_embeddings": 0, "news_embeddings": 0}
    with_clicks = JobRun("encode_users")
    encode_users(lake, with_clicks)
    assert with_clicks.rows_written["user_embeddings"] > 1


def test_a_model_whose_encoder_is_gone_is_refused(compared: tuple[Lakehouse, JobRun]) -> None:
    lake, _ = compared
    [folder] = list(local(models_folder(lake, None, None)).iterdir())
    about = (folder / "model.json").read_text()
    try:
        (folder / "model.json").write_text(about.replace('"encoder_id": "test"', '"encoder_id": "another"'))
        with pytest.raises(UserError, match="reads vectors by another, but article_embeddings has only test"):
            encode_users(lake, JobRun("encode_users"))
        (folder / "model.json").write_text(about.replace('"model": "nrms"', '"model": "content"'))
        with pytest.raises(UserError, match="has no vector for new users: train nrms or dssm"):
            encode_users(lake, JobRun("encode_users"))
    finally:
        (folder / "model.json").write_text(about)


def test_latest_clicks_are_the_latest_history_and_what_came_since(
    spark: SparkSession, lake: Lakehouse
) -> None:
    behaviors = [
        ("dev", "1", "U1", "N1 N2 N3", "N4-1 N5-0"),
        ("dev", "2", "U2", "", "N1-1 N2-1"),
        ("dev", "3", "U3", "", "N1-0"),
    ]
    history = frames.click_history(spark, behaviors, lake.schema("click_history"))
    shown = frames.impressions(spark, behaviors, lake.schema("impressions"))
    older = (
        history.where("user_id = 'U1'")
        .withColumn("news_ids", F.array(F.lit("N9")))
        .withColumn("split", F.lit("train"))
    )
    older = older.withColumn("occurred_at", F.lit(NOON) - F.expr("INTERVAL 1 DAY"))
    found = {
        row["user_id"]: row["recent"]
        for row in latest_clicks(history.unionByName(older), shown, length=3).collect()
    }
    assert found == {"U1": ["N4", "N3", "N2"], "U2": ["N2", "N1"], "U3": []}
    index = frame_of(spark, [("N4", 4), ("N2", 2)], "news_id string, article int")
    rows = indexed(latest_clicks(history, shown, length=3), index).collect()
    assert {row["user_id"]: row["articles"] for row in rows} == {"U1": [4, 2], "U2": [2], "U3": []}


def test_clicks_come_at_their_time_beside_the_history(spark: SparkSession, lake: Lakehouse) -> None:
    histories = [
        # The same history for two days: what it holds was clicked before the first of them.
        ("train", "1", "U1", 0, "N1 N2"),
        ("dev", "2", "U1", 48, "N1 N2"),
        # It grows: what is in the later one was clicked before that.
        ("train", "3", "U2", 0, "N1 N2"),
        ("dev", "4", "U2", 48, "N1 N2 N3"),
        ("dev", "5", "U3", 48, "N1 N2 N3"),
        ("dev", "6", "U4", 48, ""),
    ]
    clicks = [
        ("train", "1", "U1", 0, "N3"),  # in the impression of the history's moment: after it
        ("train", "7", "U1", 24, "N1"),  # once more, later
        ("live", "8", "U1", -24, "N4"),  # before all that the history holds
        ("train", "3", "U2", 0, "N3"),  # in the later history
        ("live", "9", "U2", 72, "N4"),
        ("live", "10", "U3", 24, "N1"),  # in the history, which has the order
        ("live", "11", "U3", 12, "N9"),
        ("live", "12", "U3", 6, "N8"),
        ("live", "13", "U4", 1, "N1"),
        ("live", "14", "U5", 2, "N2"),  # without any history
        ("live", "15", "U5", 1, "N1"),
    ]

    def at(hours: int) -> datetime:
        return NOON + timedelta(hours=hours)

    rows = [
        (split, impression, user, at(hours), news.split())
        for split, impression, user, hours, news in histories
    ]
    shown = [
        (split, impression, 0, user, at(hours), at(hours), news, True, None, None, None)
        for split, impression, user, hours, news in clicks
    ]
    history = frame_of(spark, rows, lake.schema("click_history")).repartition(2)
    impressions = frame_of(spark, shown, lake.schema("impressions")).repartition(2)
    found = {row["user_id"]: row["recent"] for row in latest_clicks(history, impressions, length=9).collect()}
    assert found == {
        "U1": ["N1", "N3", "N2", "N4"],
        "U2": ["N4", "N3", "N2", "N1"],
        "U3": ["N3", "N2", "N1", "N9", "N8"],
        "U4": ["N1"],
        "U5": ["N2", "N1"],
    }
    cut = {row["user_id"]: row["recent"] for row in latest_clicks(history, impressions, length=2).collect()}
    assert cut == {user: recent[:2] for user, recent in found.items()}


def test_a_value_that_training_never_met_is_not_none(spark: SparkSession, tmp_path: Path) -> None:
    world = worlds.world(tmp_path / "world")
    count = len(world.catalogue.article_ids)
    entity = np.arange(count) % 4  # 0: none; 3 only in articles that training never shows
    entity[: world.catalogue.articles_in_training] %= 3
    names = ("Q1", "Q2", "Q3")
    catalogue = replace(
        world.catalogue,
        category=Codes(entity, 4, names),
        subcategory=Codes(entity, 4, names),
        entity=Codes(entity, 4, names),
    )
    data = replace(world, catalogue=catalogue)
    trained = worlds.trained(data, worlds.settings("nrms", attributes=True, epochs=1))
    # Something is met, learnt and served, whichever epoch was kept.
    random, met = torch.Generator().manual_seed(0), torch.arange(catalogue.articles_in_training)
    trained.model.note_met(met, met)
    with torch.no_grad():
        for weight in trained.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=random))
    save_model(
        tmp_path / "models",
        trained.model,
        catalogue,
        worlds.settings("nrms", attributes=True),
        run_id="r",
        encoder_id="e",
    )
    saved = load_saved(tmp_path / "models", "r")
    column = pa.chunked_array([[None, "Q1", "Q2", "Q9", "Q3"]])
    codes = codes_of(column, saved.attributes["entity"])
    assert codes.values.tolist() == [0, 1, 2, 4, 3]
    vectors = np.tile(world.catalogue.vectors[:1], (5, 1)) if world.catalogue.vectors is not None else None
    later = replace(
        catalogue,
        article_ids=pa.array(list("abcde")),
        vectors=vectors,
        texts=None,
        category=codes,
        subcategory=codes,
        entity=codes,
    )
    with torch.inference_mode():
        none, first, second, new, unmet = restore(saved, later).article_vectors(torch.arange(5)).numpy()
    # As training's own judging takes a value of dev alone, and unlike none and the others.
    assert new == pytest.approx(unmet)
    for other in (none, first, second):
        assert np.abs(new - other).max() > 1e-3
