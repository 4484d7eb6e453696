"""Run jobs as their users do, as processes of their own, and kill them with SIGKILL at a chosen moment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

PROJECT = Path(__file__).parent.parent
# Tests read many tiny tables, for which to generate and compile code costs more than to interpret the plan.
# Jobs that run to their end as processes of their own (streams, whole pipelines) generate code as they do for
# a user.
SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    # Every query tells its plan to a UI that is off, and each commit what all commits add up to: a tenth of
    # so small a job.
    "spark.sql.debug.maxToStringFields": "0",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    # Of a heap of 3 GB Spark makes pages of 32 MB, one at least for every sort and hash table; a table that
    # is broadcast keeps its own for as long as anything remembers the query. 44 of them filled half of the
    # heap.
    "spark.buffer.pageSize": "1m",
}
# A process that is killed within its first minute spends half of it on compiling what it runs a few times:
# the JVM's first compiler alone, and what tests set otherwise, come to the same commits sooner.
SHORT_LIVED = {
    "SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1",
    "PYSPARK_SUBMIT_ARGS": " ".join(
        f"--conf {name}={value}" for name, value in {"spark.master": "local[2]", **SMALL}.items()
    )
    + " pyspark-shell",
}


def run_job(job: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run jobs/<job>.py to its end; stdout and stderr are captured."""
    return subprocess.run(
        _command(job, arguments),
        env=_environment(environment),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def kill_job(
    job: str, *arguments: str, when: Callable[[], bool], log: Path, timeout_s: float = 900.0
) -> bool:
    """Run jobs/<job>.py and SIGKILL it, its JVM and its Python workers as soon as `when()` is true.

    Args:
        job: the job's name.
        arguments: its command line.
        when: polled every 5 ms.
        log: file that takes the job's stderr, so that `when` can look at it too.
        timeout_s: gives up after this time.

    Returns:
        True if it was killed, False if it ended before `when()` was true.

    Raises:
        TimeoutError: neither happened in time.
    """
    with log.open("w") as stderr:
        process = subprocess.Popen(
            _command(job, arguments), env=_environment(SHORT_LIVED), cwd=PROJECT, stdout=stderr, stderr=stderr
        )
        deadline = time.monotonic() + timeout_s
        while process.poll() is None:
            if when():
                kill_tree(process.pid)
                process.wait()
                return True
            if time.monotonic() > deadline:
                kill_tree(process.pid)
                raise TimeoutError(
                    f"{job} neither ended nor came to the moment in {timeout_s} s: {log.read_text()[-2000:]}"
                )
            time.sleep(0.005)
    return False


def arguments_of(options: Mapping[str, Any]) -> list[str]:
    """A job function's options as its command line takes them."""
    return [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def log_of(table: Path) -> list[Path]:
    """The files of a table's Delta commits, in order."""
    return sorted((table / "_delta_log").glob("*.json"))


def commits(table: Path) -> int:
    """How many Delta commits a table has: a moment that does not depend on the machine's speed."""
    return len(log_of(table))


def operations(table: Path) -> list[str]:
    """The operations of a table's commits, in order, such as CREATE TABLE, WRITE, MERGE."""
    found = []
    for path in log_of(table):
        entries = (json.loads(line) for line in path.read_text().splitlines())
        found += [entry["commitInfo"]["operation"] for entry in entries if "commitInfo" in entry]
    return found


def data_files(table: Path) -> int:
    """How many Parquet files lie in a table's folder, committed or not."""
    return len(list(table.rglob("*.parquet")))


def content(rows: DataFrame, *, without: Sequence[str] = ()) -> tuple[int, int]:
    """Count and order-free hash of a frame's rows: equal tables have equal content whatever their files."""
    columns = [
        F.to_json(F.col(field.name)) if isinstance(field.dataType, T.MapType) else F.col(field.name)
        for field in rows.schema
        if field.name not in without
    ]
    row = (
        rows.select(F.xxhash64(*columns).alias("hash"))
        .agg(F.count("*"), F.sum(F.col("hash").cast("decimal(38,0)")))
        .head()
    )
    assert row is not None
    return int(row[0]), int(row[1] or 0)


def _command(job: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, str(PROJECT / "jobs" / f"{job}.py"), *arguments]


def _environment(extra: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", **extra}


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all that it started."""
    # The Python workers have a process group of their own, so the tree is walked instead of killing a group.
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(tree, timeout=10)
