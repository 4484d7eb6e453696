"""purge_news --model-runs: the latest runs of each model stay, and what is in use; cut off anywhere, the next
run does the rest."""

import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline import old_runs
from newslake.pipeline.leftovers import remove_leftovers
from newslake.pipeline.old_runs import Made, active, retain_runs, superseded
from newslake.pipeline.purge import purge_news
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.switches.promotions import Comparison, decide, promote
from newslake.training.models.saved import load_saved
from tests.calling import call
from tests.serving.rows import trained
from tests.tables import put

RUNS = {"m1": "mf", "m2": "mf", "m3": "mf", "m4": "mf", "c1": "content", "half": "mf"}
"""In the order in which they were trained; of `half` nothing says when."""
DATED = {"m1": "2019-11-01", "m2": "2019-11-02", "c1": "2019-11-01"}
TABLES = ("user_embeddings", "news_embeddings", "model_metrics", "article_topics", "topic_terms", "topics")
SCORES = ("article_class_scores", "text_classifier_classes", "text_classifiers")


def test_the_latest_of_each_kind_and_those_in_use_stay() -> None:
    made = [Made(f"{kind}{day}", kind, datetime(2019, 11, day)) for kind in ("a", "b") for day in (3, 1, 2)]
    assert superseded(made, 1) == ["a1", "a2", "b1", "b2"]
    assert superseded(made, 2, used=["b1"]) == ["a1"]
    assert superseded([*made, Made("a0", "a", None)], 3) == ["a0"], "of unknown age: the earliest"
    assert superseded(made, 3) == superseded([], 1) == []
    same = [Made(name, "a", datetime(2019, 11, 1)) for name in ("y", "x", "z")]
    assert superseded(same, 1) == superseded(same[::-1], 1) == ["x", "y"]


def model(folder: Path, run_id: str, kind: str, day: str) -> None:
    """A trained model's folder, as old as the day."""
    (folder / run_id).mkdir(parents=True)
    (folder / run_id / "model.json").write_text(json.dumps({"settings": {"model": kind}}))
    at = datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    os.utime(folder / run_id / "model.json", (at, at))


def fill(lake: Lakehouse) -> None:
    """Runs of two recommenders, four topic models of which an article's vector uses the first, three
    classifiers and brought scores."""
    for run_id, kind in RUNS.items():
        trained(lake, "user_embeddings", "user_id", [("u", [1.0]), ("v", [1.0])], model=kind, run_id=run_id)
        trained(lake, "news_embeddings", "news_id", [("a", [1.0])], model=kind, run_id=run_id)
    metrics = (
        {"run_id": run_id, "model": kind, "epoch": 1, "split": "valid"} for run_id, kind in RUNS.items()
    )
    put(lake, "model_metrics", [*metrics])
    of_job = {"job": "train_recommender", "outcome": "done"}
    jobs = (
        {
            **of_job,
            "run_id": run_id,
            "started_at": f"{day} 08:00:00",
            "facts": {"training run": run_id},
        }
        for run_id, day in DATED.items()
    )
    put(lake, "job_runs", [*jobs])
    # m3 was trained by compare_models, which says so; of m4 only its folder tells.
    put(
        lake,
        "model_comparison",
        [{"run_id": "m3", "compared_at": "2019-11-03 08:00:00"}],
    )
    for run_id, day in {"m1": "2019-11-09", "m4": "2019-11-04"}.items():
        model(Path(str(lake.root)) / "_models", run_id, "mf", day)
    for number, name in enumerate(("t1", "t2", "t3", "t4"), start=1):
        topic = {
            "topic_model": name,
            "terms": ["a"],
            "term_weights": [1.0],
            "vector": [1.0],
            "fitted_at": f"2019-11-0{number} 00:00:00",
        }
        put(lake, "topics", [topic])
        put(
            lake,
            "topic_terms",
            [{"topic_model": name, "term": "a", "topic_counts": [1.0], "vector": [1.0]}],
        )
        put(
            lake,
            "article_topics",
            [*({"topic_model": name, "news_id": "a", "rank": r} for r in (1, 2))],
        )
    put(
        lake,
        "article_vectors",
        [{"news_id": "a", "news_date": "2019-11-19", "topic_model": "t1", "vector": [1.0]}],
    )
    for run_id, at in {"k1": None, "k2": "2019-11-02 00:00:00", "k3": "2019-11-03 00:00:00"}.items():
        put(
            lake,
            "text_classifiers",
            [{"model_run": run_id, "trained_on": "long", "trained_at": at}],
        )
        put(
            lake,
            "text_classifier_classes",
            [{"model_run": run_id, "class": "c"}],
        )
    put(
        lake,
        "article_class_scores",
        [*({"news_id": "a", "model_run": r} for r in ("k1", "k3", "brought"))],
    )
    put(lake, "news", [{"news_id": "a", "published_at": "2019-11-19 00:00:00"}])


def there(lake: Lakehouse) -> dict[str, set[str]]:
    """The runs that each table and the folder of models hold."""
    column = {"model_metrics": "run_id", "user_embeddings": "run_id", "news_embeddings": "run_id"}
    found = {
        table: {
            row[0]
            for row in lake.read(table)
            .select(column.get(table, "model_run" if table in SCORES else "topic_model"))
            .collect()
        }
        for table in (*TABLES, *SCORES)
    }
    return {**found, "_models": {folder.name for folder in (Path(str(lake.root)) / "_models").iterdir()}}


KEPT: dict[str, set[str]] = {
    **{table: {"m3", "m4", "c1", "half"} for table in TABLES[:3]},
    **{table: {"t1", "t3", "t4"} for table in TABLES[3:]},
    "article_class_scores": {"k3", "brought"},
    "text_classifier_classes": {"k2", "k3"},
    "text_classifiers": {"k2", "k3"},
    "_models": {"m4"},
}


@pytest.fixture(scope="module")
def before(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse with runs of several ages."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("runs") / "lakehouse"))
    fill(lake)
    return Path(str(lake.root))


def test_old_runs_leave_tables_and_folder(lake: Lakehouse, before: Path) -> None:
    shutil.copytree(before, str(lake.root))
    all_there = there(lake)
    given: dict[str, Any] = {"older_than": "10", "as_of": "2019-11-20", "vacuum": False}
    call(purge_news, lake, JobRun("purge_news"), **given)
    assert there(lake) == all_there, "off unless given"
    run = JobRun("purge_news")
    call(purge_news, lake, run, **given, model_runs=2)
    assert there(lake) == KEPT
    deleted = {
        "user_embeddings": 4,
        "news_embeddings": 2,
        "model_metrics": 2,
        "article_topics": 2,
        "topic_terms": 1,
        "topics": 1,
    }
    counted = {name: run.facts[f"deleted from {name}"] for name in (*deleted, *SCORES)}
    assert counted == {name: str(count) for name, count in deleted.items()} | dict.fromkeys(SCORES, "1")
    assert run.facts["folders of trained models removed"] == "1"
    assert run.facts["training runs of unknown age, kept"] == "1"
    again = JobRun("purge_news")
    call(purge_news, lake, again, **given, model_runs=2)
    assert there(lake) == KEPT
    assert {
        name: count for name, count in again.facts.items() if name.startswith("deleted") and count != "0"
    } == {}
    with pytest.raises(UserError, match="1 or more are kept"):
        call(purge_news, lake, run, **given, model_runs=0)
    with pytest.raises(UserError, match="there is no such folder"):
        call(purge_news, lake, run, **given, model_folder="/nowhere")


def test_cut_off_anywhere_the_next_one_does_the_rest(
    lake: Lakehouse, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(before, str(lake.root))
    models = Path(str(lake.root)) / "_models"
    delete, remove = Lakehouse.delete, shutil.rmtree

    class Killed(Exception):
        pass

    def deleted_and_killed(self: Lakehouse, table: str, condition: str) -> int:
        count = delete(self, table, condition)
        if count:
            raise Killed
        return count

    monkeypatch.setattr(Lakehouse, "delete", deleted_and_killed)
    cuts = 0
    for _ in TABLES[:3]:
        with pytest.raises(Killed):
            retain_runs(lake, JobRun("purge_news"), 2, models)
        cuts += 1
        assert models.joinpath("m1").exists(), "the folder says that there is something left to do"

    def killed(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:  # not the look for what an earlier kill left
            raise Killed

    monkeypatch.setattr(old_runs.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        retain_runs(lake, JobRun("purge_news"), 2, models)
    monkeypatch.setattr(old_runs.shutil, "rmtree", remove)
    assert {folder.name for folder in models.iterdir()} == {"m4", "m1.tmp-purged"}
    with pytest.raises(UserError, match=r"it has m4$"):
        load_saved(models, "m1")
    for _ in (*TABLES[3:], *SCORES):
        with pytest.raises(Killed):
            retain_runs(lake, JobRun("purge_news"), 2, models)
        cuts += 1
    retain_runs(lake, JobRun("purge_news"), 2, models)
    assert cuts == 9
    os.utime(models / "m1.tmp-purged", (time.time() - 8 * 24 * 3600,) * 2)
    assert remove_leftovers(lake, hours=168) == 1
    assert there(lake) == KEPT


def test_what_is_active_stays(lake: Lakehouse, before: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows_of = [("topics", 1, "t1"), ("topics", 3, "t2"), ("topics", 2, "t3"), ("recommender", 1, "m1")]
    switches = frame_of(lake.spark, rows_of, "kind string, activated_at int, model string")
    assert active(switches) == {"t2", "m1"}, "the last switch of each kind"
    shutil.copytree(before, str(lake.root))
    # As if the table were there: its reader is what the line above is about.
    monkeypatch.setattr(old_runs, "_ACTIVE", "text_classifiers")
    monkeypatch.setattr(old_runs, "active", lambda _: {"t2", "m1"})
    retain_runs(lake, JobRun("purge_news"), 1, None)
    found = there(lake)
    assert found["topics"] == {"t1", "t2", "t4"}
    assert found["text_classifiers"] == {"k3"}
    assert found["model_metrics"] == {"m1", "m3", "m4", "c1", "half"}, (
        "without the folder, nothing tells when m4 was trained"
    )
    assert found["_models"] == {"m1", "m4"}


def test_the_ranker_in_use_stays(lake: Lakehouse, tmp_path: Path) -> None:
    for day, run_id in enumerate(("r1", "r2", "r3", "r4.tmp-1")):
        folder = tmp_path / run_id
        folder.mkdir()
        (folder / "ranker.json").write_text("{}")
        os.utime(folder, (1_573_000_000 + 86_400 * day,) * 2)
    better = Comparison("ndcg_at_10", 0.3, 0.2, 0.1, 0.05, 0.2, 50)
    decide(lake, "ranker", "r1", "trees", "train_ranker", better, 0.0)
    for _ in range(2):
        retain_runs(lake, JobRun("purge_news"), 1, tmp_path)
        assert {folder.name for folder in tmp_path.iterdir() if "tmp-" not in folder.name} - {
            "lakehouse"
        } == {"r1", "r3"}


def test_the_recommender_in_use_and_the_one_before_it_stay(lake: Lakehouse, before: Path) -> None:
    shutil.copytree(before, str(lake.root))
    models = Path(str(lake.root)) / "_models"
    better = Comparison("auc", 0.7, 0.6, 0.1, 0.05, 0.2, 50)
    for run_id in ("m3", "m2", "m1"):
        decide(lake, "recommender", run_id, "mf", "train_recommender", better, 0.0)
    retain_runs(lake, JobRun("purge_news"), 1, models)
    found = there(lake)
    assert found["model_metrics"] == found["user_embeddings"] == {"m1", "m2", "m4", "c1", "half"}
    assert found["_models"] == {"m1", "m4"}
    run = JobRun("promote")
    promote(lake, run, kind="recommender", previous=True)
    assert run.facts["in use"] == "m2"
    retain_runs(lake, JobRun("purge_news"), 1, models)
    assert there(lake)["model_metrics"] == {"m2", "m4", "c1", "half"}, (
        "what was left by hand may go; no step back leads to it"
    )
