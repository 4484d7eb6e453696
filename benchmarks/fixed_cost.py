"""What a job costs before it has any rows to speak of: Spark's SQL executions, jobs and tasks of each newslake job on a tiny lakehouse.

Counted from Spark's event log, so that the figures are the same on every machine: nothing here is timed. Runs the sample's pipeline, which
runs every job, on a sample as small as it may be. tests/benchmarks/test_fixed_cost.py holds the counts to those in fixed_cost.json.

    python benchmarks/fixed_cost.py             # the table, beside the counts that are kept
    python benchmarks/fixed_cost.py --keep      # write the counts down
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from newslake.cli import run_job
from newslake.lakehouse import Lakehouse
from newslake.pipeline.run import run_pipeline
from newslake.session import spark_session, spark_settings

KEPT = Path(__file__).with_suffix(".json")
SAMPLE = {"articles": 400, "users": 50, "impressions": 300, "epochs": 1}
_SQL = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"


@dataclass(frozen=True)
class Window:
    """One run of a job.

    Attributes:
        job: its name, with what tells runs of the same job apart, such as the model that was trained.
        start, end: milliseconds since 1970.
    """

    job: str
    start: float
    end: float


def counted(events: Iterator[dict[str, Any]], windows: Sequence[Window]) -> dict[str, dict[str, int]]:
    """Executions, jobs and tasks of each job, by the innermost window that an event falls into; what falls into none is left out.

    Args:
        events: of a Spark event log.
        windows: the runs; one may lie in another.
    """
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"executions": 0, "jobs": 0, "tasks": 0})
    for event in events:
        kind = event["Event"]
        if kind == _SQL:
            what, at = "executions", event["time"]
        elif kind == "SparkListenerJobStart":
            what, at = "jobs", event["Submission Time"]
        elif kind == "SparkListenerTaskEnd":
            what, at = "tasks", event["Task Info"]["Launch Time"]
        else:
            continue
        inside = [window for window in windows if window.start <= at <= window.end]
        if inside:
            found[max(inside, key=lambda window: window.start).job][what] += 1
    return dict(sorted(found.items()))


def windows_of(lake: Lakehouse) -> list[Window]:
    """The runs that job_runs knows, in the order of their starts; several runs of a job are numbered."""
    rows = lake.read("job_runs").select("job", "started_at", "ended_at").orderBy("started_at").collect()
    times: dict[str, int] = defaultdict(int)
    windows = []
    for job, start, end in rows:
        times[job] += 1
        name = job if times[job] == 1 else f"{job} {times[job]}"
        windows.append(Window(name, *(moment.replace(tzinfo=UTC).timestamp() * 1000 for moment in (start, end or datetime.now()))))
    return windows


def measured(folder: Path) -> dict[str, dict[str, int]]:
    """Run the pipeline on the tiny sample, and count.

    Args:
        folder: an empty one.
    """
    log = folder / "log"
    log.mkdir()
    logged = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": log.as_uri(), "spark.eventLog.compress": "false"}
    spark = spark_session("newslake fixed_cost", extra={**spark_settings("local"), **logged, "spark.eventLog.rolling.enabled": "false"})
    spark.sparkContext.setLogLevel("ERROR")
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    run_job(run_pipeline, lake, SAMPLE)
    windows = windows_of(lake)
    spark.stop()
    [file] = log.iterdir()
    with file.open(encoding="utf-8") as lines:
        return counted((json.loads(line) for line in lines), windows)


def main() -> None:
    """Print the counts, or keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help=f"write the counts to {KEPT.name}")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the counts there")
    parser.add_argument("--folder", type=Path, default=None, help="keep the lakehouse and the event log here, an empty folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = measured(given.folder or Path(temporary))
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    print(f"{'job':32} {'executions':>10} {'kept':>6} {'jobs':>6} {'tasks':>7}")
    for job, counts in found.items():
        print(f"{job:32} {counts['executions']:10} {kept.get(job, {}).get('executions', '-'):>6} {counts['jobs']:6} {counts['tasks']:7}")
    total = {what: sum(counts[what] for counts in found.values()) for what in ("executions", "jobs", "tasks")}
    print(f"{'all':32} {total['executions']:10} {sum(c['executions'] for c in kept.values()):6} {total['jobs']:6} {total['tasks']:7}")
    for file in (given.json, KEPT if given.keep else None):
        if file is not None:
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
