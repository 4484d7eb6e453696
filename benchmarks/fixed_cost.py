"""What a job costs before it has any rows to speak of: Spark's SQL executions, jobs and tasks of each
newslake job on a tiny lakehouse.

Counted from Spark's event log, so that the figures are the same on every machine: nothing here is timed. Runs
all jobs of the hourly, daily and weekly runs on a sample as small as it may be.
tests/benchmarks/test_fixed_cost.py holds the counts to those in fixed_cost.json.

    python benchmarks/fixed_cost.py             # the table, beside the counts that are kept
    python benchmarks/fixed_cost.py --keep      # write the counts down
    python benchmarks/fixed_cost.py --story     # of what `make run` runs: a part of the pipeline
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from pyspark.sql import functions as F

from event_log import costs, events, logged, windows_of
from newslake.pipeline.run import run_pipeline
from newslake.run.cli import run_job

KEPT = Path(__file__).with_suffix(".json")
SAMPLE = {"articles": 400, "users": 50, "impressions": 300, "epochs": 1, "whole": True}
_COUNTED = ("executions", "jobs", "tasks")


def measured(folder: Path, *, story: bool = False) -> dict[str, dict[str, int]]:
    """Run the pipeline on the tiny sample, and count.

    Args:
        folder: an empty one.
        story: only what `make run` runs of it.
    """
    with logged(folder) as lake:
        run_job(run_pipeline, lake, {**SAMPLE, "whole": not story})
        tokens = lake.read("article_embeddings").agg(F.sum("token_count")).head()
        print(f"tokens of articles encoded: {tokens[0] if tokens else 0:,}", flush=True)
        windows = windows_of(lake)
    found = costs(events(folder), windows)
    return {job: {name: asdict(cost)[name] for name in _COUNTED} for job, cost in found.items()}


def main() -> None:
    """Print the counts, or keep them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help=f"write the counts to {KEPT.name}")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the counts there")
    parser.add_argument(
        "--folder", type=Path, default=None, help="keep the lakehouse and the event log here, an empty folder"
    )
    parser.add_argument("--story", action="store_true", help="count what `make run` runs, not every job")
    given = parser.parse_args()
    if given.keep and given.story:
        parser.error("--keep takes the counts of every job: leave --story out")
    with tempfile.TemporaryDirectory() as temporary:
        found = measured(given.folder or Path(temporary), story=given.story)
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    print(f"{'job':32} {'executions':>10} {'kept':>6} {'jobs':>6} {'tasks':>7}")
    for job, counts in found.items():
        print(
            f"{job:32} {counts['executions']:10} {kept.get(job, {}).get('executions', '-'):>6}"
            f" {counts['jobs']:6} {counts['tasks']:7}"
        )
    total = {what: sum(counts[what] for counts in found.values()) for what in ("executions", "jobs", "tasks")}
    print(
        f"{'all':32} {total['executions']:10} {sum(c['executions'] for c in kept.values()):6}"
        f" {total['jobs']:6} {total['tasks']:7}"
    )
    for file in (given.json, KEPT if given.keep else None):
        if file is not None:
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
