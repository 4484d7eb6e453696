"""train_ranker and the feed by what it made: judged on later hours, deterministic, killed and run again, and
blind to what comes after."""

import json
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from sklearn.metrics import ndcg_score

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import ranker
from newslake.ranking.features import FEATURES
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.ranking.train import train_ranker
from newslake.run.jobrun import JobRun
from newslake.switches.promotions import in_use, promote
from tests.calling import call
from tests.killing import arguments_of, content
from tests.ranking import world
from tests.undisturbed import kill_at

AS_OF = world.START + timedelta(hours=44)
OPTIONS: dict[str, Any] = {
    "as_of": f"{AS_OF:%Y-%m-%dT%H}",
    "train_days": 1,
    "valid_hours": 8,
    "test_hours": 12,
    "days": 1,
    "unshown": 0,
    "rounds": 20,
    "resamples": 100,
    "ctr_half_life_hours": world.HALF_LIFE,
    "tolerance": 1.0,
}
FEED: dict[str, Any] = {
    "hour": f"{AS_OF:%Y-%m-%dT%H}",
    "days": 1,
    "ctr_half_life_hours": world.HALF_LIFE,
    "diversity": 0.0,  # by the score alone, which is looked at here
}


def train(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("train_ranker")
    call(train_ranker, lake, run, **{**OPTIONS, **options})
    return run


def feed(lake: Lakehouse, **options: Any) -> list[dict[str, Any]]:
    """The feeds by vectors of one run of rank_newsfeed, of its hour."""
    options = {**FEED, **options}
    call(rank_newsfeed, lake, JobRun("rank_newsfeed"), **options)
    found = lake.read("newsfeed").where(f"reason = 'vectors' AND hour = timestamp '{options['hour']}:00:00'")
    return [row.asDict() for row in found.orderBy("user_id", "rank").collect()]


def models(lake: Lakehouse) -> Path:
    """The folder of trained rankers."""
    return Path(f"{lake.root}/_models")


@pytest.fixture(scope="module")
def rows() -> world.Tables:
    """Rows of the tables."""
    return world.tables(3, articles=60, impressions=500)


@pytest.fixture(scope="module")
def trained(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, rows: world.Tables
) -> tuple[Lakehouse, str, str]:
    """A lakehouse with a ranker of each kind, the linear one in use: the lakehouse and the runs, trees and
    linear."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("trained") / "lake"))
    world.write(lake, rows)
    return lake, train(lake).facts["training run"], train(lake, kind="linear").facts["training run"]


def test_what_is_judged_are_the_test_hours(trained: tuple[Lakehouse, str, str], rows: world.Tables) -> None:
    """nDCG@10 of both, out of brute force's features and scikit-learn's metric."""
    lake, _, linear = trained
    score = ranker.load(models(lake), linear).scorer()()
    listed: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows["impressions"]:
        if AS_OF - timedelta(hours=12) <= row[4] < AS_OF and row[7] is not None:
            listed[row[1]].append(row)
    published = {row[0]: row[3] for row in rows["news"]}
    found = []
    for impression in listed.values():
        hour = impression[0][4].replace(minute=0, second=0)
        read = world.history(rows, impression[0][3], hour)
        out = [
            row
            for row in impression
            if hour - timedelta(days=1) <= published[row[6]] < hour and row[6] not in read
        ]
        labels = [int(row[7]) for row in out]
        if any(row[7] for row in impression) and 0 < sum(labels) < len(labels):
            features = [world.brute_force(rows, row[3], row[6], hour) for row in out]
            scores = score(np.array([[one[name] for name in FEATURES] for one in features], np.float32))
            formula = [
                np.log(max(one["ctr"], 1e-6))
                - np.log(2) * one["age_hours"] / 3
                + 4 * np.nan_to_num(one["likeness"])
                for one in features
            ]
            found.append([ndcg_score([labels], [of], k=10) for of in (scores, formula)])
    assert len(found) > 20
    [row] = lake.read("promotions").where(f"run_id = '{linear}'").collect()
    assert row["impressions"] == len(found)
    own, formula_mean = np.mean(found, axis=0)
    assert row["value"] == pytest.approx(own, abs=1e-6)
    [first] = lake.read("promotions").where("name = 'trees' AND decided_by = 'train_ranker'").collect()
    assert first["in_use"] == "none"
    assert first["in_use_value"] == pytest.approx(formula_mean, abs=1e-6)
    # The linear one was judged against the trees, which were in use by then.
    assert row["in_use"] == first["run_id"]
    assert row["in_use_value"] == pytest.approx(first["value"])
    assert row["difference"] == pytest.approx(row["value"] - row["in_use_value"])
    assert row["low"] <= row["difference"] <= row["high"]


def test_the_feed_is_ranked_by_the_one_in_use(
    trained: tuple[Lakehouse, str, str], rows: world.Tables
) -> None:
    lake, trees, linear = trained
    assert in_use(lake, "ranker") == linear
    score = ranker.load(models(lake), linear).scorer()()
    found = feed(lake)
    assert len(found) > 30
    for row in found:
        features = world.brute_force(rows, row["user_id"], row["news_id"], AS_OF)
        assert row["score"] == pytest.approx(
            float(score(np.array([[features[name] for name in FEATURES]], np.float32))[0]), abs=1e-4
        )
        assert row["ranker"] == linear
        assert row["news_id"] not in world.history(rows, row["user_id"], AS_OF)
    for before, after in pairwise(found):
        assert before["user_id"] != after["user_id"] or before["score"] >= after["score"]
    by_formula = feed(lake, ranker="formula")
    assert {(row["user_id"], row["news_id"]) for row in by_formula} == {
        (row["user_id"], row["news_id"]) for row in found
    }
    assert {row["ranker"] for row in by_formula} == {"formula"}
    assert {row["ranker"] for row in feed(lake, ranker=trees)} == {trees}
    promote(lake, JobRun("promote"), kind="ranker", previous=True)
    assert {row["ranker"] for row in feed(lake)} == {trees}
    promote(lake, JobRun("promote"), kind="ranker", run_id=linear)


def test_what_happens_from_the_hour_on_changes_no_feed(
    trained: tuple[Lakehouse, str, str], rows: world.Tables, spark: SparkSession, tmp_path: Path
) -> None:
    lake, trees, _ = trained
    hour = world.HOURS[2]
    other = Lakehouse(spark, str(tmp_path / "other"))
    world.write(other, world.altered(rows, hour))
    options = {"ranker": trees, "model_folder": str(models(lake))}
    for at, same in ((hour, True), (hour + timedelta(hours=6), False)):
        feeds = [feed(one, **{**options, "hour": f"{at:%Y-%m-%dT%H}"}) for one in (lake, other)]
        assert feeds[0]
        differing = [pair for pair in zip(*feeds, strict=False) if pair[0] != pair[1]]
        assert (not differing and len(feeds[0]) == len(feeds[1])) == same, (at, differing[:3])


def test_where_only_streams_wrote_clicks_alone_are_the_history(lake: Lakehouse, rows: world.Tables) -> None:
    streamed = {**rows, "click_history": []}
    world.write(lake, {name: of_table for name, of_table in rows.items() if name != "click_history"})
    run_id = train(lake).facts["training run"]
    found = feed(lake, ranker=run_id)
    assert not lake.exists("click_history")
    assert len(found) > 30
    score = ranker.load(models(lake), run_id).scorer()()
    for row in found:
        features = world.brute_force(streamed, row["user_id"], row["news_id"], AS_OF)
        assert row["score"] == pytest.approx(
            float(score(np.array([[features[name] for name in FEATURES]], np.float32))[0]), abs=1e-4
        )


@pytest.mark.slow
def test_killed_before_its_decision_and_run_again(
    lake: Lakehouse, rows: world.Tables, tmp_path: Path, trained: tuple[Lakehouse, str, str]
) -> None:
    world.write(lake, rows)
    kill_at(
        lambda root: any((root / "_models").glob("*/ranker.json")),
        lake,
        ("train_ranker", arguments_of(OPTIONS)),
        tmp_path / "log",
    )
    run_id = train(lake).facts["training run"]
    assert in_use(lake, "ranker") == run_id
    assert ranker.saved_rankers(models(lake)) == [run_id]
    # The same as a run that nobody disturbed, on the same rows in other tables.
    undisturbed, trees, _ = trained
    assert (models(lake) / run_id / "booster.json").read_bytes() == (
        models(undisturbed) / trees / "booster.json"
    ).read_bytes()
    own = "name = 'trees' AND decided_by = 'train_ranker'"
    [mine], [theirs] = (
        one.read("promotions").where(own).drop("run_id", "decided_at").collect()
        for one in (lake, undisturbed)
    )
    assert mine == theirs
    # A rerun has nothing to do.
    before = content(lake.read("promotions"))
    assert "rounds" not in train(lake).facts
    assert content(lake.read("promotions")) == before


def test_mistakes_are_told(lake: Lakehouse, rows: world.Tables, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table impressions is not there yet"):
        train(lake)
    world.write(lake, {name: rows[name] for name in ("impressions", "news", "click_history")})
    with pytest.raises(UserError, match="article_embeddings is not there yet"):
        train(lake)
    world.write(
        lake, {name: rows[name] for name in ("article_embeddings", "article_vectors", "user_vectors")}
    )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"as_of": "soon"}, "--as-of takes a day"),
        ({"as_of": "2019-12-24"}, r"no impression with a click in train \(2019-12-.*\)"),
        ({"splits": ("live",)}, r"no impression with a click in train \(.* of split live\)"),
        ({"test_hours": 0}, "must be at least 1"),
        ({"days": 0}, "--days and --max-impressions must be at least 1"),
        ({"encoder_id": "X"}, "it has E"),
        ({"rounds": 0}, "--rounds"),
        ({"tolerance": -1.0}, "--tolerance must be 0 or more"),
    ]
    for options, message in wrong:
        with pytest.raises(UserError, match=message):
            train(lake, **options)
    with pytest.raises(UserError, match=r"no ranker X in .*; it has none: run jobs/train_ranker.py first"):
        feed(lake, ranker="X")
    # One of another version: the feed says so, and ranks by the formula where it was not asked for by name.
    run_id = train(lake).facts["training run"]
    file = models(lake) / run_id / "ranker.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "features": ["ctr"]}))
    with pytest.raises(UserError, match="reads other features than this version"):
        feed(lake, ranker=run_id)
    run = JobRun("rank_newsfeed")
    call(rank_newsfeed, lake, run, **FEED)
    assert run.facts["ranked by"] == "formula"
    assert "other features" in run.facts["ranker in use, not usable"]
