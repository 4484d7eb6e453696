"""The daily run over days that are past: in order, each once, taken up where a kill left it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Task
from newslake.pipeline.steps import Step, marks_done, marks_of, run_steps
from newslake.run.jobrun import JobRun, recorded
from newslake.run.options import day_of


@dataclass
class Day:
    """One day of a backfill.

    Attributes:
        name: of the run, which its steps are remembered by: that of the daily run of this day.
        steps: what is to be done.
    """

    name: str
    steps: list[Step] = field(default_factory=list)


def days_between(first: str | None, last: str | None) -> list[date]:
    """The days from --from to --to (default: today, UTC), both among them.

    Raises:
        UserError: one of them is not a day, or is in the future, or they are in the wrong order; or there is
            no first day.
    """
    if first is None:
        raise UserError("--to needs --from, the first day of the backfill")
    today = datetime.now(UTC).date()
    begin, end = day_of(first, "--from"), today if last is None else day_of(last, "--to")
    if end > today:
        raise UserError(f"--to {end} is in the future: today is {today} (UTC)")
    if begin > end:
        raise UserError(f"--from {begin} is after --to {end}")
    return [begin + timedelta(days=n) for n in range((end - begin).days + 1)]


def backfill(
    lake: Lakehouse,
    run: JobRun,
    days: Sequence[date],
    plan: list[Day],
    *,
    tables: Callable[[str], list[Task]],
    whole: Callable[[str], list[Task]],
    again: bool = False,
) -> None:
    """Do the daily run of each day, one after the other, and say after each how far it is.

    What a day leaves in tables is made for every day; what the world outside sees of it, the purge and the
    report only for the last: Milvus would else serve every day in turn. A day of which every job was done
    before, by a backfill or a daily run with the same options, is left out.

    Args:
        lake, run: as given to the job.
        days: in order.
        plan: empty; filled with the days and what became of each of their steps, also where one fails.
        tables: tasks of a day that make tables and nothing else, the first of `whole`.
        whole: tasks of the last day.
        again: leave nothing out.

    Raises:
        UserError, JobFailed, Exception: as run_steps; the same command goes on with that job of that day.
    """
    plan += [
        Day(f"daily {day}", [Step(task) for task in (whole if day == days[-1] else tables)(str(day))])
        for day in days
    ]
    marks = {day.name: marks_of(run, day.name, day.steps) for day in plan}
    done = set() if again else marks_done(lake, [mark for of_day in marks.values() for mark in of_day])
    for place, day in enumerate(plan, start=1):
        label = f"[day {place}/{len(plan)}] {day.name.removeprefix('daily ')}"
        if set(marks[day.name]) <= done:
            for step in day.steps:
                step.state = "done before"
            run.progress(f"{label}: complete before, {len(day.steps)} jobs")
            continue
        began = run.seconds
        _one_day(lake, run, day, is_last=place == len(plan), again=again)
        now = sum(step.state == "done" for step in day.steps)
        rows = sum(rows for step in day.steps if step.state == "done" for rows in step.rows_out.values())
        run.progress(
            f"{label}: complete, {now} jobs done, {len(day.steps) - now} before, {rows:,} rows,"
            f" {run.seconds - began:.1f} s"
        )


def _one_day(lake: Lakehouse, run: JobRun, day: Day, *, is_last: bool, again: bool) -> None:
    """The run of a day, with a row of its own in job_runs beside those of its jobs."""
    own = JobRun(
        "run_pipeline", {**run.settings, "as_of": day.name.removeprefix("daily ")}, run.settings_file
    )
    own.fact("pipeline", day.name if is_last else f"{day.name}, tables")
    with recorded(lake, own):
        run_steps(lake, own, day.steps, name=day.name, again=again)
    for table, rows in own.rows_written.items():
        run.wrote(table, rows)
    run.quarantined(own.rows_rejected)


def told(plan: Sequence[Day]) -> str:
    """The backfill in a line, and what stopped it, if something did."""
    complete = [day for day in plan if all(step.state in ("done", "done before") for step in day.steps)]
    now = [day for day in complete if any(step.state == "done" for step in day.steps)]
    lines = [f"{len(complete)} of {len(plan)} days are complete, {len(now)} of them since now"]
    for day in plan:
        for step in day.steps:
            if step.state == "failed":
                lines.append(
                    f"Stopped at {step.task.key} of {day.name.removeprefix('daily ')}: {step.message}"
                )
                lines.append("The same command goes on from there.")
    return "\n".join(lines)
