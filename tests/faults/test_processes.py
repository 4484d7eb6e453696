"""Faults as the users of whole processes meet them: what stands on stderr, the exit status, and the tables
after the rerun."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.intake.sources.labels.load import import_labels
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job as run_here
from tests.faults.common import disk, news, remount, texts
from tests.killing import PROJECT, content, run_job

MIND = PROJECT / "tests" / "fixtures" / "mind"
PARSED = ("news", "impressions", "click_history", "quarantine")


def said_of_the_end(result: subprocess.CompletedProcess[str]) -> str:
    """The last line of stderr, after looking that no stack trace of Python's stands before it."""
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_full_disk(lake: Lakehouse, tmp_path: Path) -> None:
    many = texts(tmp_path / "many.jsonl", 3_000, words=120)
    place = f"--lakehouse={tmp_path}/disk/lakehouse"
    with disk(tmp_path / "disk", "700k"):
        first = run_job("import_labels", f"--texts={many}", place)
        assert first.returncode == 1
        assert said_of_the_end(first).startswith("import_labels: failed: no space left on the disk (")
        remount(tmp_path / "disk", "size=64m")
        again = run_job("import_labels", f"--texts={many}", place)
        assert again.returncode == 0, again.stderr
        run_here(import_labels, lake, {"texts": (str(many),)})
        assert news(Lakehouse(lake.spark, f"{tmp_path}/disk/lakehouse")) == news(lake)


@pytest.mark.slow
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    few = texts(tmp_path / "few.jsonl", 5)
    with disk(tmp_path / "disk", "16m"):
        remount(tmp_path / "disk", "ro")
        result = run_job("import_labels", f"--texts={few}", f"--lakehouse={tmp_path}/disk/lakehouse")
        assert result.returncode == 2
        assert said_of_the_end(result).startswith("import_labels: cannot write ")
        remount(tmp_path / "disk", "rw")
        assert (
            run_job("import_labels", f"--texts={few}", f"--lakehouse={tmp_path}/disk/lakehouse").returncode
            == 0
        )


@pytest.fixture(scope="module")
def parsed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int]]:
    """Count and hash of each table that one run of parse_behaviors leaves in this process, in UTC."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("parsed") / "lakehouse"))
    run_here(parse_behaviors, lake, {"train": (f"{MIND}/train",), "dev": (f"{MIND}/dev",)})
    return tables_of(lake)


def tables_of(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """Count and hash of each table that parse_behaviors writes."""
    return {table: content(lake.read(table)) for table in PARSED}


@pytest.mark.slow
def test_two_runs_of_one_job_at_once(
    spark: SparkSession, parsed: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    place = f"--lakehouse={tmp_path}/both"
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run_job, "parse_behaviors", f"--train={MIND}/train", f"--dev={MIND}/dev", place)
            for _ in range(2)
        ]
        results = [run.result() for run in runs]
    assert [result.returncode for result in results] == [0, 0], "\n".join(
        result.stderr[-3000:] for result in results
    )
    both = Lakehouse(spark, f"{tmp_path}/both")
    assert tables_of(both) == parsed
    assert [row["outcome"] for row in both.read("job_runs").collect()] == ["done", "done"]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "zone"), [("python", "Asia/Tokyo"), ("spark-submit", "America/St_Johns")])
def test_a_clock_in_another_time_zone(
    zone: str, way: str, spark: SparkSession, parsed: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    venv = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{venv}:{os.environ['PATH']}", "TZ": zone}
    command = [
        way,
        str(PROJECT / "jobs" / "parse_behaviors.py"),
        f"--train={MIND}/train",
        f"--dev={MIND}/dev",
        f"--lakehouse={tmp_path}/there",
    ]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, capture_output=True)
    there = Lakehouse(spark, f"{tmp_path}/there")
    assert tables_of(there) == parsed
    [run] = (
        there.read("job_runs")
        .select(F.unix_seconds("started_at").alias("started"), F.unix_seconds("ended_at").alias("ended"))
        .collect()
    )
    now = datetime.now(UTC)
    assert (
        now - timedelta(minutes=15)
        < datetime.fromtimestamp(run["started"], UTC)
        <= datetime.fromtimestamp(run["ended"], UTC)
        <= now
    )
