"""The job train_recommender, from tables to tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse, Written
from newslake.run.jobrun import JobRun
from newslake.training.data.preparation import staging_folder
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.training import frames
from tests.training.frames import collected

BEHAVIORS = frames.drawn_behaviors(3)
OPTIONS: dict[str, Any] = {"model": "content", "epochs": 4, "dim": 8, "batch_size": 16, "learning_rate": 0.02}
KEYS = {"user_embeddings": "user_id", "news_embeddings": "news_id", "model_metrics": "split"}


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, JobRun]:
    """A lakehouse with one trained content model; tests here add runs of other settings and leave this one
    alone."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("trained") / "lakehouse"))
    frames.fill(lake, BEHAVIORS, frames.drawn_vectors(3))
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **OPTIONS)
    return lake, run


def tables_of(lake: Lakehouse, run_id: str) -> dict[str, list[Any]]:
    """The run's rows by table, but for when it was trained."""
    rows = {table: lake.read(table).where(F.col("run_id") == run_id).drop("trained_at") for table in KEYS}
    return {table: collected(rows[table], key, "model") for table, key in KEYS.items()}


def commits(lake: Lakehouse) -> dict[str, int]:
    return {table: lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.root}/{table}`").count() for table in KEYS}


def test_metrics_of_each_epoch_and_vectors_of_the_best_are_written(trained: tuple[Lakehouse, JobRun]) -> None:
    lake, run = trained
    found = tables_of(lake, run.facts["training run"])
    metrics = found["model_metrics"]
    assert [row["split"] for row in metrics] == ["train"] * 5 + ["valid"] * 5
    assert sorted(row["epoch"] for row in metrics) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # 0: not trained yet
    valid = {row["epoch"]: row["auc"] for row in metrics if row["split"] == "valid"}
    best = int(run.facts["best epoch"])
    assert valid[best] == max(valid.values()) > 0.7
    assert {row["epoch"] for row in metrics if row["best"]} == {best}
    assert all(0 < row[name] <= 1 for row in metrics for name in ("auc", "mrr", "ndcg_at_5", "ndcg_at_10"))
    assert [row["loss"] for row in metrics if (row["epoch"], row["split"]) == (0, "train")] == [None]
    assert all(row["loss"] > 0 for row in metrics if (row["epoch"], row["split"]) != (0, "train"))
    per_split = {"train": 90, "valid": 30}
    assert all(row["impressions"] + row["impressions_left_out"] == per_split[row["split"]] for row in metrics)
    shown = {(b[2], c.split("-")[0]) for b in BEHAVIORS for c in b[4].split()}
    assert {row["user_id"] for row in found["user_embeddings"]} == {user for user, _ in shown}
    assert {row["news_id"] for row in found["news_embeddings"]} == {article for _, article in shown}
    assert {
        len(row["embedding"]) for table in ("user_embeddings", "news_embeddings") for row in found[table]
    } == {8 + 8}  # embeddings of 8, and --dim
    assert run.rows_written == {table: len(rows) for table, rows in found.items()}
    assert run.rows_read == sum(len(b[4].split()) for b in BEHAVIORS)


def test_inner_products_of_the_tables_vectors_rank_as_the_metrics_say(
    trained: tuple[Lakehouse, JobRun],
) -> None:
    lake, run = trained
    found = tables_of(lake, run.facts["training run"])
    users = {row["user_id"]: np.array(row["embedding"]) for row in found["user_embeddings"]}
    articles = {row["news_id"]: np.array(row["embedding"]) for row in found["news_embeddings"]}
    aucs = []
    for split, _, user, _, shown in BEHAVIORS:
        labels = [int(candidate[-1]) for candidate in shown.split()]
        if split == "dev" and 0 < sum(labels) < len(labels):
            aucs.append(
                roc_auc_score(labels, [articles[candidate[:-2]] @ users[user] for candidate in shown.split()])
            )
    [kept] = [row for row in found["model_metrics"] if row["best"] and row["split"] == "valid"]
    assert kept["impressions"] == len(aucs)
    assert kept["auc"] == pytest.approx(np.mean(aucs), abs=1e-6)


def test_a_rerun_does_nothing_and_force_trains_to_the_same_rows(
    trained: tuple[Lakehouse, JobRun], run: JobRun
) -> None:
    lake, first = trained
    run_id = first.facts["training run"]
    before, versions = tables_of(lake, run_id), commits(lake)
    call(train_recommender, lake, run, **OPTIONS)
    assert run.facts["training run"] == run_id
    assert run.rows_written == {}
    assert commits(lake) == versions
    again = JobRun("train_recommender")
    call(train_recommender, lake, again, **OPTIONS, force=True)
    assert again.rows_written == first.rows_written
    assert tables_of(lake, run_id) == before
    assert commits(lake) == {table: version + 1 for table, version in versions.items()}


def test_another_seed_or_model_is_another_run_beside_the_first(trained: tuple[Lakehouse, JobRun]) -> None:
    lake, first = trained
    before = tables_of(lake, first.facts["training run"])
    other, mf = JobRun("train_recommender"), JobRun("train_recommender")
    call(train_recommender, lake, other, **{**OPTIONS, "epochs": 1}, seed=9)
    call(train_recommender, lake, mf, **{**OPTIONS, "epochs": 1, "model": "mf"})
    runs = {job.facts["training run"] for job in (first, other, mf)}
    assert len(runs) == 3
    assert tables_of(lake, first.facts["training run"]) == before
    assert {row["model"] for row in tables_of(lake, mf.facts["training run"])["model_metrics"]} == {"mf"}


@pytest.mark.parametrize(("stopped_at", "seed"), [("news_embeddings", 21), ("model_metrics", 22)])
def test_a_run_stopped_between_its_writes_is_completed_by_its_rerun(
    trained: tuple[Lakehouse, JobRun], monkeypatch: pytest.MonkeyPatch, stopped_at: str, seed: int
) -> None:
    lake, _ = trained
    options = {**OPTIONS, "epochs": 1, "seed": seed}
    replace = Lakehouse.replace

    def stopping(self: Lakehouse, table: str, rows: DataFrame, *, where: Mapping[str, str]) -> Written:
        if table == stopped_at:
            raise KeyboardInterrupt
        return replace(self, table, rows, where=where)

    monkeypatch.setattr(Lakehouse, "replace", stopping)
    with pytest.raises(KeyboardInterrupt):
        call(train_recommender, lake, JobRun("train_recommender"), **options)
    monkeypatch.undo()
    rerun = JobRun("train_recommender")
    call(train_recommender, lake, rerun, **options)
    found = tables_of(lake, rerun.facts["training run"])
    undisturbed = JobRun("train_recommender")
    call(train_recommender, lake, undisturbed, **options, force=True)
    assert tables_of(lake, undisturbed.facts["training run"]) == found
    assert {table: len(rows) for table, rows in found.items()} == rerun.rows_written
    assert not list(staging_folder(lake, None).glob("*.tmp-*"))


def test_two_encoders_must_be_chosen_between(trained: tuple[Lakehouse, JobRun], run: JobRun) -> None:
    lake, _ = trained
    second = frames.embeddings(
        lake.spark, frames.drawn_vectors(4, size=5), lake.schema("article_embeddings"), "second"
    )
    lake.replace("article_embeddings", second, where={"encoder_id": "second"})
    try:
        with pytest.raises(
            UserError,
            match="several encoder_ids, which do not mix: choose with --encoder-id second or test",
        ):
            call(train_recommender, lake, run, **OPTIONS)
        with pytest.raises(
            UserError, match="--encoder-id third: article_embeddings has no such vectors; it has second, test"
        ):
            call(train_recommender, lake, run, **OPTIONS, encoder_id="third")
        call(train_recommender, lake, run, **{**OPTIONS, "epochs": 1}, encoder_id="second")
        assert run.facts["epochs"] == "1"
    finally:
        lake.delete("article_embeddings", "encoder_id = 'second'")


def test_mf_needs_no_article_embeddings_and_content_says_who_makes_them(lake: Lakehouse, run: JobRun) -> None:
    frames.fill(lake, BEHAVIORS)
    with pytest.raises(UserError, match="table article_embeddings is not there yet"):
        call(train_recommender, lake, run, **OPTIONS)
    call(
        train_recommender,
        lake,
        run,
        **{**OPTIONS, "epochs": 1, "model": "mf"},
        staging=f"{lake.root}-staging",
    )
    assert run.rows_written["model_metrics"] == 2
    assert not staging_folder(lake, None).exists()
    assert staging_folder(lake, f"{lake.root}-staging").exists()


def test_mistakes_are_told_before_anything_is_read(lake: Lakehouse, run: JobRun) -> None:
    with pytest.raises(UserError, match="--model lstur"):
        call(train_recommender, lake, run, model="lstur")
    with pytest.raises(UserError, match="--epochs 0"):
        call(train_recommender, lake, run, epochs=0)
    with pytest.raises(UserError, match="--max-skips and --max-history"):
        call(train_recommender, lake, run, max_skips=0)
    with pytest.raises(UserError, match="table impressions is not there yet"):
        call(train_recommender, lake, run)


def test_staging_lies_beside_the_tables_or_where_it_is_told(spark: SparkSession, lake: Lakehouse) -> None:
    assert str(staging_folder(lake, None)) == f"{lake.root}/_staging"
    assert str(staging_folder(lake, "file:///tmp/there")) == "/tmp/there"
    assert str(staging_folder(Lakehouse(spark, "file:/tmp/here"), None)) == "/tmp/here/_staging"
    assert str(staging_folder(Lakehouse(spark, "s3a://bucket/lake"), None)) == "s3a://bucket/lake/_staging"
    assert (
        str(staging_folder(Lakehouse(spark, "s3a://bucket/lake", work_folder="/tmp/work"), None))
        == "/tmp/work/_staging"
    )
    with pytest.raises(UserError, match="give --work-folder FOLDER for all, or --staging"):
        staging_folder(Lakehouse(spark, schema="news"), None)
