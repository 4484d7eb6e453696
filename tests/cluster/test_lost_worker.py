"""Jobs on a real cluster of two workers, one of which is killed on the way: the job ends well, with the rows
of a quiet run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.cluster.standalone import SPARK_HOME, Cluster
from tests.killing import PROJECT, SHORT_LIVED, SMALL, run_job

DEV, EVE = "2019-11-15", "2019-11-14"
# Job -> its options, and the tables that are taken away before it, so that it has all of its work to do.
JOBS = {
    "parse_behaviors": (
        ["--train", "{sample}/train", "--dev", "{sample}/dev"],
        ["news", "impressions", "click_history"],
    ),
    "encode_articles": ([], ["article_embeddings"]),
    "build_phrases": (["--as-of", EVE], ["tag_embeddings", "user_phrases"]),
    "encode_tag_phrases": (["--as-of", EVE], ["tag_phrases", "tag_phrase_matches"]),
    "rank_newsfeed": (["--hour", f"{DEV}T12"], ["newsfeed", "article_ctr"]),
    "train_text_classifier": ([], ["text_classifiers", "text_classifier_classes"]),
    "reclassify_short_text": (["--as-of", DEV], ["short_text_votes", "short_text_corpus"]),
}
MOMENTS = (0.35, 0.7)
"""Shares of a quiet run's stages after which a worker dies."""
# What says when a row was written, not what it says.
TIMES = {
    "ingested_at",
    "encoded_at",
    "written_at",
    "trained_at",
    "updated_at",
    "decided_at",
    "created_at",
    "quarantined_at",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse with every table of a small sample, made on one machine."""
    root = tmp_path_factory.mktemp("cluster") / "lakehouse"
    sizes = ["--articles", "400", "--users", "40", "--impressions", "200", "--epochs", "1"]
    done = run_job(
        "run_pipeline",
        "--lakehouse",
        str(root),
        *sizes,
        PYSPARK_SUBMIT_ARGS=SHORT_LIVED["PYSPARK_SUBMIT_ARGS"],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_job_outlives_a_worker(job: str, sample: Path, tmp_path: Path) -> None:
    quiet, stages = run(job, sample, tmp_path / "quiet", kill_after=None)
    assert all(rows.num_rows for rows in quiet.values()), "a quiet run writes rows"
    for number, share in enumerate(MOMENTS):
        rows, _ = run(job, sample, tmp_path / f"killed-{number}", kill_after=max(1, int(share * stages)))
        for table, wanted in quiet.items():
            assert rows[table].equals(wanted), f"{table}, after a worker died at {share:.0%} of the stages"


def run(job: str, sample: Path, folder: Path, *, kill_after: int | None) -> tuple[dict[str, pa.Table], int]:
    """The rows that a job on a cluster writes, and how many stages it took; one of two workers dies after so
    many of them."""
    options, tables = JOBS[job]
    lakehouse, events = folder / "lakehouse", folder / "events"
    shutil.copytree(sample, lakehouse)
    events.mkdir()
    for table in tables:
        shutil.rmtree(lakehouse / table)
    arguments = [
        "--lakehouse",
        str(lakehouse),
        *(option.format(sample=lakehouse / "_sample") for option in options),
    ]
    with Cluster(folder / "cluster") as cluster, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            _command(cluster.master, job, arguments, events),
            env=_environment(),
            cwd=PROJECT,
            stdout=log,
            stderr=log,
        )
        killed = kill_after is None
        while process.poll() is None:
            if not killed and stages_done(events) >= (kill_after or 0):
                cluster.kill_worker(0)
                killed = True
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    said = (folder / "log").read_text(encoding="utf-8")
    assert process.returncode == 0, said[-3000:]
    assert killed, "the job ended before the moment"
    if kill_after is not None:
        assert executors_lost(events), "the driver saw an executor go"
    assert not list((lakehouse / "_scratch").glob("*/rdd-*")), "checkpoints are removed"
    return {table: content(lakehouse / table) for table in tables}, stages_done(events)


def content(table: Path) -> pa.Table:
    """The rows of a table in an order of their own, without the times at which they were written, and ids
    made of them."""
    rows = DeltaTable(str(table)).to_pyarrow_table()
    rows = rows.select([name for name in rows.column_names if name not in TIMES and name != "model_run"])
    texts = [json.dumps(row, default=str, sort_keys=True) for row in rows.to_pylist()]
    return pa.table({"row": sorted(texts)})


def stages_done(events: Path) -> int:
    """How many stages the application has completed: its event log is flushed with each."""
    return _count(events, "SparkListenerStageCompleted")


def executors_lost(events: Path) -> int:
    """How many executors the driver saw go before the end."""
    return _count(events, "SparkListenerExecutorRemoved")


def _count(events: Path, name: str) -> int:
    return sum(file.read_bytes().count(f'"Event":"{name}"'.encode()) for file in events.iterdir())


def _command(master: str, job: str, arguments: list[str], events: Path) -> list[str]:
    log = {"enabled": "true", "dir": f"file://{events}", "compress": "false", "rolling.enabled": "false"}
    settings = {**SMALL, "spark.executor.memory": "1g", "spark.driver.memory": "1500m"}
    settings |= {f"spark.eventLog.{name}": value for name, value in log.items()}
    given = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
    return [
        str(SPARK_HOME / "bin" / "spark-submit"),
        "--master",
        master,
        *given,
        f"jobs/{job}.py",
        *arguments,
    ]


def _environment() -> dict[str, str]:
    python = {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    return {**os.environ, "SPARK_HOME": str(SPARK_HOME), "HF_HUB_OFFLINE": "1", **python}
