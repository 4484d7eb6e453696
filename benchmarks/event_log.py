"""What Spark's event log says of each run of a job: executions, jobs, tasks, bytes shuffled and spilled.
Exact, whatever the machine."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.session import quiet, spark_session, spark_settings

_SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"


@dataclass(frozen=True)
class Window:
    """One run of a job.

    Attributes:
        job: its name, numbered from its second run on.
        start, end: milliseconds since 1970.
        rows: rows read and written, as job_runs has them.
    """

    job: str
    start: float
    end: float
    rows: int = 0

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1000


@dataclass
class Cost:
    """What one run took.

    Attributes:
        executions: Spark SQL executions, nested ones too.
        jobs, tasks: of Spark.
        task_seconds: that executors spent in its tasks, with the Python workers' part.
        shuffled, spilled: bytes written for shuffles, and bytes of memory that went to disk.
    """

    executions: int = 0
    jobs: int = 0
    tasks: int = 0
    task_seconds: float = 0.0
    shuffled: int = 0
    spilled: int = 0


@contextmanager
def logged(folder: Path) -> Iterator[Lakehouse]:
    """A new lakehouse in the folder, which is empty, in a local session of its own that keeps its event log:
    see `events`."""
    log = folder / "log"
    log.mkdir()
    settings = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": log.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    spark = spark_session("newslake benchmark", extra={**spark_settings("local"), **settings})
    quiet(spark)
    try:
        yield Lakehouse(spark, str(folder / "lakehouse"))
    finally:
        spark.stop()


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """The events of the session that `logged` had in the folder."""
    [file] = (folder / "log").iterdir()
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def windows_of(lake: Lakehouse) -> list[Window]:
    """The runs that job_runs knows, in the order of their starts."""
    columns = "job", "started_at", "ended_at", "rows_in", "rows_out"
    times: dict[str, int] = defaultdict(int)
    found = []
    for job, start, end, read, written in (
        lake.read("job_runs").select(*columns).orderBy("started_at").collect()
    ):
        times[job] += 1
        name = job if times[job] == 1 else f"{job} {times[job]}"
        began, ended = (
            moment.replace(tzinfo=UTC).timestamp() * 1000 for moment in (start, end or datetime.now(UTC))
        )
        found.append(Window(name, began, ended, rows=(read or 0) + sum((written or {}).values())))
    return found


def costs(log: Iterable[dict[str, Any]], windows: Sequence[Window]) -> dict[str, Cost]:
    """What each run took, by the innermost window that an event falls into; what falls into none is left out.

    Args:
        log: events of one log.
        windows: the runs; one may lie in another, as those of a pipeline do.
    """
    found: dict[str, Cost] = defaultdict(Cost)
    for event in log:
        kind = event["Event"]
        if kind == _SQL:
            at = event["time"]
        elif kind == "SparkListenerJobStart":
            at = event["Submission Time"]
        elif kind == "SparkListenerTaskEnd":
            at = event["Task Info"]["Launch Time"]
        else:
            continue
        inside = [window for window in windows if window.start <= at <= window.end]
        if not inside:
            continue
        cost = found[max(inside, key=lambda window: window.start).job]
        cost.executions += kind == _SQL
        cost.jobs += kind == "SparkListenerJobStart"
        if kind == "SparkListenerTaskEnd":
            did = event.get("Task Metrics") or {}
            cost.tasks += 1
            cost.task_seconds += did.get("Executor Run Time", 0) / 1000
            cost.shuffled += did.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
            cost.spilled += did.get("Memory Bytes Spilled", 0)
    return dict(sorted(found.items()))
