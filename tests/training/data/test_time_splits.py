"""Splits by time: which impression has which role, which options make sense together, and that test is only
ever reported."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import job_options, settings_of
from newslake.run.jobrun import JobRun
from newslake.run.settings import SettingsFile
from newslake.spark.frames import frame_of
from newslake.training.data.time_splits import (
    NOT_BY_TIME,
    TEST,
    TRAIN,
    VALID,
    BySplit,
    TimeSplits,
    Windows,
    roles_of,
)
from newslake.training.judging.compare import compare_models
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.tables import put
from tests.training import frames
from tests.training.frames import collected

BY_TIME = TimeSplits(as_of="2019-11-16", train_days=4, valid_hours=24, test_hours=24)
BEHAVIORS = frames.drawn_behaviors(3)
OPTIONS: dict[str, Any] = {
    "model": "content",
    "epochs": 3,
    "dim": 8,
    "batch_size": 16,
    "learning_rate": 0.02,
    "by_time": BY_TIME,
}


def day_of(behavior: frames.Behavior) -> int:
    """Of November: train on 10 to 13, the first impression before, valid on 14 and test on 15."""
    number = int(behavior[1])
    return 8 if number == 1 else 10 + number % 4 if behavior[0] == "train" else 14 + number // 4 % 2


def fill(lake: Lakehouse, behaviors: list[frames.Behavior]) -> None:
    """The behaviours as a stream brings them: all live, each at its time, without a history."""
    spark = lake.spark
    live = [("live", *behavior[1:]) for behavior in behaviors]
    days = frame_of(
        spark,
        [(b[1], datetime(2019, 11, day_of(b), 12)) for b in behaviors],
        "impression_id string, at timestamp",
    )
    shown = frames.impressions(spark, live, lake.schema("impressions")).join(
        days, on="impression_id", how="inner"
    )
    put(
        lake,
        "impressions",
        shown.withColumn("occurred_at", F.col("at")).select(*lake.schema("impressions").names),
    )
    ids = sorted({candidate.split("-")[0] for behavior in behaviors for candidate in behavior[4].split()})
    put(
        lake,
        "news",
        frames.news(spark, [(n, f"c{int(n[1:]) % 3}", "s", []) for n in ids], lake.schema("news")),
    )
    put(
        lake,
        "article_embeddings",
        frames.embeddings(spark, frames.drawn_vectors(3), lake.schema("article_embeddings")),
    )


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, JobRun]:
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("by_time") / "lakehouse"))
    fill(lake, BEHAVIORS)
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **OPTIONS)
    return lake, run


def test_every_moment_has_one_role_and_none_outside_the_windows(spark: SparkSession) -> None:
    windows = TimeSplits(as_of="2019-11-15T06", train_days=1, valid_hours=12, test_hours=6).windows()
    assert (windows.train, windows.end) == (datetime(2019, 11, 13, 12), datetime(2019, 11, 15, 6))
    moments = {
        "2019-11-13 11:59:59.999999": None,
        "2019-11-13 12:00:00": TRAIN,
        "2019-11-14 11:59:59.999999": TRAIN,
        "2019-11-14 12:00:00": VALID,
        "2019-11-14 23:59:59.999999": VALID,
        "2019-11-15 00:00:00": TEST,
        "2019-11-15 05:59:59.999999": TEST,
        "2019-11-15 06:00:00": None,
    }
    rows = frame_of(spark, [("live", moment) for moment in moments], "split string, moment string")
    rows = rows.withColumn("occurred_at", F.col("moment").cast("timestamp"))

    def roles(of: Windows) -> dict[str, str | None]:
        return {row[0]: row[1] for row in rows.select("moment", F.when(of.chosen(), of.role())).collect()}

    assert roles(windows) == moments
    assert set(roles(replace(windows, splits=("dev",))).values()) == {None}
    assert windows.roles == (TRAIN, VALID, TEST)
    without = TimeSplits(as_of="2019-11-15", test_hours=0).windows()
    assert without.roles == (TRAIN, VALID)
    assert (without.valid, without.test, without.end) == (
        datetime(2019, 11, 14),
        datetime(2019, 11, 15),
        datetime(2019, 11, 15),
    )


def test_options_that_make_no_sense_together_are_one_line() -> None:
    assert roles_of(NOT_BY_TIME, None, None) == BySplit(("train",), ("dev",))
    assert roles_of(NOT_BY_TIME, ("a",), None, "file") == BySplit(("a",), ("dev",))
    assert isinstance(roles_of(TimeSplits(train_days=7), None, None), Windows), "up to the present day"
    for given, message in (
        ((BY_TIME, ("train",), None), "--train-splits split by file, .* give those of one kind"),
        ((BY_TIME, None, ("dev",), "file"), "--eval-splits and --impressions split by file"),
        ((TimeSplits(splits=("live",)), None, None), "--splits .* give --as-of too"),
        ((TimeSplits(train_days=0), None, None), "--train-days 0 --valid-hours 24: both must be above 0"),
        ((TimeSplits(valid_hours=-1), None, None), "--valid-hours -1: both must be above 0"),
        ((TimeSplits(test_hours=float("nan")), None, None), "--test-hours nan: must be 0 or more"),
        (
            (TimeSplits(as_of="yesterday"), None, None),
            "--as-of takes a day such as 2019-11-15 .* not 'yesterday'",
        ),
        ((NOT_BY_TIME, ("dev",), None), "split dev is among both"),
    ):
        with pytest.raises(UserError, match=message):
            roles_of(*given)


def test_the_group_is_flat_on_the_command_line_and_in_job_runs() -> None:
    options = job_options(
        train_recommender, ["--as-of=2019-11-16", "--train-days", "4", "--splits", "live", "dev"]
    )
    assert {name: options[name] for name in ("as_of", "train_days", "splits")} == {
        "as_of": "2019-11-16",
        "train_days": 4.0,
        "splits": ("live", "dev"),
    }
    file = SettingsFile(jobs={"train_recommender": {"test_hours": 6, "splits": ["live"]}})
    options_of_file = job_options(train_recommender, ["--as-of=2019-11-16"], file)
    assert {name: options_of_file[name] for name in ("as_of", "test_hours", "splits")} == {
        "as_of": "2019-11-16",
        "test_hours": 6.0,
        "splits": ("live",),
    }
    settings = settings_of(train_recommender, options)
    assert settings == settings_of(
        train_recommender, {"by_time": TimeSplits("2019-11-16", 4.0, splits=("live", "dev"))}
    )
    assert settings["valid_hours"] == settings_of(train_recommender, {})["valid_hours"]
    assert "by_time" not in settings
    judged = job_options(train_recommender, ["--no-promote", "--tolerance=0.02"])
    assert (judged["promote"], judged["tolerance"], settings["resamples"]) == (False, 0.02, "1000")


def test_test_has_one_row_of_the_epoch_that_valid_chose(trained: tuple[Lakehouse, JobRun]) -> None:
    lake, run = trained
    rows = collected(lake.read("model_metrics"), "split", "epoch")
    assert [row["split"] for row in rows] == ["test", *["train"] * 4, *["valid"] * 4]  # epoch 0 too
    best = int(run.facts["best epoch"])
    assert {row["epoch"] for row in rows if row["best"]} == {best}
    assert rows[0]["epoch"] == best
    valid = {row["epoch"]: row["auc"] for row in rows if row["split"] == "valid"}
    assert valid[best] == max(valid.values())
    counts = {"train": 89, "valid": 15, "test": 15}
    assert {row["split"]: row["impressions"] + row["impressions_left_out"] for row in rows} == counts
    # What the tables' vectors say of test, worked out anew; what a user had clicked before is no candidate.
    users = {row["user_id"]: np.array(row["embedding"]) for row in lake.read("user_embeddings").collect()}
    articles = {row["news_id"]: np.array(row["embedding"]) for row in lake.read("news_embeddings").collect()}
    aucs = []
    for behavior in (b for b in BEHAVIORS if day_of(b) == 15):
        shown = [candidate.split("-") for candidate in behavior[4].split()]
        before = [b for b in BEHAVIORS if b[2] == behavior[2] and day_of(b) < 15]
        clicked = {candidate[:-2] for b in before for candidate in b[4].split() if candidate.endswith("-1")}
        pairs = [(news_id, label) for news_id, label in shown if news_id not in clicked]
        labels = [int(label) for _, label in pairs]
        if 0 < sum(labels) < len(labels):
            aucs.append(
                roc_auc_score(labels, [articles[news_id] @ users[behavior[2]] for news_id, _ in pairs])
            )
    assert rows[0]["impressions"] == len(aucs) > 8
    assert rows[0]["auc"] == pytest.approx(np.mean(aucs), abs=1e-6)
    assert run.facts["test AUC"] == f"{rows[0]['auc']:.4f}"
    assert (
        run.facts["promoted"]
        == "not judged: content knows users by id, so that only dssm or nrms can serve new ones"
    )
    assert not lake.exists("promotions")


def test_what_test_holds_decides_nothing_but_its_own_row(
    trained: tuple[Lakehouse, JobRun], lake: Lakehouse
) -> None:
    def swapped(behavior: frames.Behavior) -> frames.Behavior:
        shown = " ".join(c[:-1] + str(1 - int(c[-1])) for c in behavior[4].split())
        return (*behavior[:4], shown) if day_of(behavior) == 15 else behavior

    fill(lake, [swapped(behavior) for behavior in BEHAVIORS])
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **OPTIONS)
    before, first = trained
    assert run.facts["training run"] != first.facts["training run"]
    for table, keys in (
        ("user_embeddings", ("user_id",)),
        ("news_embeddings", ("news_id",)),
        ("model_metrics", ("split", "epoch")),
    ):
        same, changed = (
            [
                {**row, "run_id": "", "trained_at": None}
                for row in collected(each.read(table), *keys)
                if row.get("split") != "test"
            ]
            for each in (before, lake)
        )
        assert same == changed
    assert float(run.facts["test AUC"]) == pytest.approx(1 - float(first.facts["test AUC"]), abs=2e-4)


def test_models_are_compared_on_test_and_the_context_is_fitted_on_valid(
    trained: tuple[Lakehouse, JobRun],
) -> None:
    lake, first = trained
    run = JobRun("compare_models")
    call(
        compare_models,
        lake,
        run,
        models=("zero-shot", "content"),
        epochs=2,
        resamples=20,
        by_time=BY_TIME,
        context=True,
    )
    rows = {
        row["model"]: row
        for row in lake.read("model_comparison").where("users = 'all' AND metric = 'auc'").collect()
    }
    assert rows.keys() == {"zero-shot", "content", "zero-shot+context", "content+context"}
    kept = (
        lake.read("model_metrics")
        .where(F.col("run_id") == rows["content"]["run_id"])
        .where("split = 'test'")
        .head()
    )
    assert kept is not None
    assert kept["run_id"] != first.facts["training run"]
    assert {row["split"] for row in rows.values()} == {"test"}
    assert {row["impressions"] for row in rows.values()} == {kept["impressions"]}
    assert rows["content"]["value"] == pytest.approx(kept["auc"], abs=1e-6)
    assert (
        run.facts["impressions that the context's weights are fitted on, which no model is judged by"] == "15"
    )


def test_a_window_without_impressions_says_what_to_do(trained: tuple[Lakehouse, JobRun]) -> None:
    lake, _ = trained
    with pytest.raises(
        UserError,
        match=r"^test \(2019-11-29 00:00 to 2019-11-30 00:00\) has no labelled impression: .*--as-of",
    ):
        call(
            train_recommender,
            lake,
            JobRun("train"),
            **{**OPTIONS, "by_time": TimeSplits("2019-11-30", valid_hours=24 * 15.0)},
        )
    with pytest.raises(UserError, match="of split dev"):
        call(
            train_recommender,
            lake,
            JobRun("train"),
            **{**OPTIONS, "by_time": replace(BY_TIME, splits=("dev",))},
        )
