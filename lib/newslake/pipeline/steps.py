"""Run jobs in order, leaving out those whose input has not changed since they were last done."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import functions as F

from newslake.cli import JobFunction, run_job, settings_of
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse

_INPUT = "input files"


@dataclass(frozen=True)
class Step:
    """One job with its options.

    Attributes:
        job: the job's function.
        options: those that differ from the job's defaults.
        inputs: local folders whose files are all that the job reads. With them the step is left out where the same files
            were read with the same options before; a job that reads tables finds out by itself what is missing.
    """

    job: JobFunction
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.__name__


def run_steps(lake: Lakehouse, run: JobRun, steps: Sequence[Step]) -> None:
    """Run the steps in order; a step that fails ends the run with its error, and a rerun takes up there.

    Args:
        lake: where the tables live.
        run: the run of the pipeline, which says how far it is.
        steps: what to run.
    """
    for place, step in enumerate(steps, start=1):
        label = f"[{place}/{len(steps)}] {step.name}" + (f" --model {step.options['model']}" if "model" in step.options else "")
        seen = _fingerprint(step.inputs)
        if step.inputs and _done_before(lake, step, seen):
            run.progress(f"{label}: nothing new in {', '.join(step.inputs)}")
            continue
        run.progress(label)
        done = run_job(step.job, lake, step.options, facts={_INPUT: seen} if step.inputs else {})
        for table, rows in done.rows_written.items():
            run.wrote(table, rows)
        run.quarantined(done.rows_rejected)


def _done_before(lake: Lakehouse, step: Step, seen: str) -> bool:
    if not lake.exists("job_runs"):
        return False
    done = lake.read("job_runs").where((F.col("job") == step.name) & (F.col("outcome") == "done"))
    last = done.orderBy(F.col("started_at").desc()).select("settings", "facts", "rows_out").head()
    if last is None or last.settings != settings_of(step.job, step.options) or last.facts.get(_INPUT) != seen:
        return False
    return all(lake.exists(table) for table in last.rows_out)


def _fingerprint(folders: Sequence[str]) -> str:
    """Hash of the files' names, sizes and modification times: what changes when an input does."""
    found = []
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                status = os.stat(os.path.join(path, name))
                found.append((os.path.join(path, name), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:16]
