"""Run the steps of a pipeline in order, leaving out those that were done before and have nothing new to work
on."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pyspark.sql import Row
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.paths import matching
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names
from newslake.pipeline.plan import Task
from newslake.run.cli import job_options, run_job, settings_of
from newslake.run.jobrun import JobRun, first_line
from newslake.run.options import utc_now

_MARK, _INPUT = "step", "input files"
_LONG = {
    "stream_articles": 5.0,
    "fit_topics": 4.0,
    "train_ranker": 3.0,
    "write_report": 3.0,
    "generate_mind": 2.0,
    "parse_behaviors": 2.0,
    "encode_articles": 2.0,
    "reclassify_short_text": 2.0,
    "rank_newsfeed": 2.0,
}
"""How long a job takes against the others, roughly, as on the built-in sample: to say how much of a pipeline
is left."""
State = Literal["done", "done before", "failed", "not run"]


@dataclass
class Step:
    """What became of one task.

    Attributes:
        task: the task.
        state: done (now), done before (and left out now), failed, or not run.
        seconds: how long it took; of the run that did it, where it was done before.
        rows_in: input rows or lines that the job read, where it says.
        rows_out: rows written, by table.
        quarantined: rows that went to quarantine.
        message: what went wrong.
    """

    task: Task
    state: State = "not run"
    seconds: float = 0.0
    rows_in: int | None = None
    rows_out: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    message: str = ""


def run_steps(
    lake: Lakehouse,
    run: JobRun,
    steps: Sequence[Step],
    *,
    name: str,
    since: datetime | None = None,
    again: bool = False,
) -> None:
    """Run the steps one by one; one that fails ends the run with its error, and a rerun takes up there.

    A step is left out where a run of it under the same name, with the same options and input files, was done
    before, all that it made is still there, and nothing that it waits for has been done since.

    Args:
        lake: where the tables live.
        run: the run of the pipeline, which says how far it is.
        steps: what to run, in order; filled with what became of each, also where one fails. All options are
            checked before the first starts.
        name: of the pipeline and of what it is for, such as "daily 2019-11-15": runs of other names do not
            count.
        since: runs before this moment do not count.
        again: leave nothing out.

    Raises:
        UserError, JobFailed: a step failed so; says which.
        Exception: a step failed otherwise.
    """
    # A mistake in the last one's options would else show after an hour.
    options = [_options(step.task, run) for step in steps]
    marks = [_mark(name, step.task, given) for step, given in zip(steps, options, strict=True)]
    before = {} if again else _done_before(lake, marks, since)
    ended: dict[str, datetime] = {}
    for place, (step, given, mark) in enumerate(zip(steps, options, marks, strict=True), start=1):
        label, seen = f"[{place}/{len(steps)}] {step.task.key}", _fingerprint(step.task.inputs)
        known = before.get(mark)
        if known is not None and _still_good(lake, step.task, known, seen, ended):
            _take(step, known)
            ended[step.task.key] = known.ended_at
            run.progress(f"{label}: done before, nothing new")
            continue
        run.progress(f"{label} ...")
        _run_one(lake, run, step, given, {_MARK: mark, **({_INPUT: seen} if step.task.inputs else {})})
        ended[step.task.key] = utc_now()
        run.progress(f"{label}: {_rows(step)}, {step.seconds:.1f} s{_left(steps)}")


def marks_of(run: JobRun, name: str, steps: Sequence[Step]) -> list[str]:
    """What runs of the steps leave in job_runs, one a step; checks their options.

    Args:
        run: of the pipeline.
        name: of the pipeline and of what it is for, as for run_steps.
        steps: of the pipeline.
    """
    return [_mark(name, step.task, _options(step.task, run)) for step in steps]


def marks_done(lake: Lakehouse, marks: Sequence[str]) -> set[str]:
    """Those of the marks of which a run was done."""
    return set(_done_before(lake, marks, None))


def _options(task: Task, run: JobRun) -> dict[str, Any]:
    try:
        return job_options(task.job, task.arguments, run.settings_file)
    except UserError as error:
        raise UserError(f"{task.key}: {error}") from None


def _mark(name: str, task: Task, options: Mapping[str, Any]) -> str:
    """What a run of the task leaves in job_runs: the same for the same work."""
    same = (name, task.key, task.job.__name__, sorted(settings_of(task.job, options).items()))
    return hashlib.sha256(repr(same).encode()).hexdigest()[:16]


def _run_one(
    lake: Lakehouse, run: JobRun, step: Step, options: Mapping[str, Any], facts: Mapping[str, str]
) -> None:
    began = run.seconds
    try:
        done = run_job(step.task.job, lake, options, facts=facts, settings_file=run.settings_file)
    except BaseException as error:
        step.state, step.seconds, step.message = "failed", run.seconds - began, first_line(error)
        if isinstance(error, UserError):
            raise UserError(f"{step.task.key}: {error}") from error
        if isinstance(error, JobFailed):
            raise JobFailed(f"{step.task.key}: {error}") from error
        raise
    step.state, step.seconds = "done", run.seconds - began
    step.rows_in, step.rows_out, step.quarantined = (
        done.rows_read,
        dict(done.rows_written),
        done.rows_rejected,
    )
    for table, rows in step.rows_out.items():
        run.wrote(table, rows)
    run.quarantined(step.quarantined)


def _still_good(lake: Lakehouse, task: Task, known: Row, seen: str, ended: Mapping[str, datetime]) -> bool:
    """Whether its files are the same, nothing that the task waits for was done after it began, and what it
    made is there."""
    if (task.inputs and known.seen != seen) or any(ended[key] > known.started_at for key in task.after):
        return False
    return all(os.path.exists(path) for path in task.makes) and all(
        lake.exists(table) for table in known.rows_out or {} if table in table_names()
    )


def _done_before(lake: Lakehouse, marks: Sequence[str], since: datetime | None) -> dict[str, Row]:
    """The latest complete run of each mark, from job_runs."""
    if not lake.exists("job_runs"):
        return {}
    mark = F.col("facts")[_MARK]
    done = lake.read("job_runs").where((F.col("outcome") == "done") & mark.isin(list(marks)))
    if since is not None:
        done = done.where(F.col("started_at") > F.lit(since))
    kept = F.struct(
        "started_at",
        "ended_at",
        "rows_in",
        "rows_out",
        "rows_quarantined",
        F.col("facts")[_INPUT].alias("seen"),
    )
    latest = done.groupBy(mark.alias("mark")).agg(F.max_by(kept, "started_at").alias("last"))
    # One row a task: as many as the pipeline has, whatever the table holds.
    return {row["mark"]: row["last"] for row in latest.collect()}


def _take(step: Step, known: Row) -> None:
    step.state, step.seconds = "done before", (known.ended_at - known.started_at).total_seconds()
    step.rows_in, step.rows_out, step.quarantined = (
        known.rows_in,
        dict(known.rows_out or {}),
        known.rows_quarantined or 0,
    )


def _left(steps: Sequence[Step]) -> str:
    """How long the steps that have not run may take, by the pace of those that ran now."""
    ran, ahead = ([step for step in steps if step.state == state] for state in ("done", "not run"))
    if not ahead:
        return ""
    pace = sum(step.seconds for step in ran) / sum(_weight(step) for step in ran)
    seconds = pace * sum(_weight(step) for step in ahead)
    return f"; about {seconds / 60:.0f} min left" if seconds >= 90 else f"; about {seconds:.0f} s left"


def _weight(step: Step) -> float:
    return _LONG.get(step.task.job.__name__, 1.0)


def _rows(step: Step) -> str:
    return ", ".join(f"{rows:,} rows to {table}" for table, rows in step.rows_out.items()) or "no rows"


def _fingerprint(paths: Sequence[str]) -> str:
    """Hash of the names, sizes and modification times of files, patterns' or folders' too: what changes when
    an input does."""
    found = []
    for path in (match for pattern in paths for match in matching(pattern)):
        inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        for name in inside or [path]:
            if os.path.exists(name):
                status = os.stat(name)
                found.append((name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:16]
