"""run_pipeline: one of the runs, here and now, in one Spark session."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.work import local_work
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.backfill import Day, backfill, days_between, told
from newslake.pipeline.plan import Option, Task
from newslake.pipeline.runs import daily, hourly, readers, weekly
from newslake.pipeline.sample import SAMPLE, SampleOptions, sample_run
from newslake.pipeline.steps import Step, run_steps
from newslake.pipeline.summary import findings, last_report, steps_table, tables_built
from newslake.ranking.newsfeed import parse_hour
from newslake.run.jobrun import JobRun
from newslake.run.options import day_of
from newslake.text.spec import DEFAULT_MODEL

Pipeline = Literal["sample", "hourly", "daily", "weekly"]


def run_pipeline(
    lake: Lakehouse,
    run: JobRun,
    *,
    pipeline: Pipeline | None = None,
    as_of: str | None = None,
    from_day: Annotated[str | None, Parameter(name=("--from", "--from-day"))] = None,
    to_day: Annotated[str | None, Parameter(name=("--to", "--to-day"))] = None,
    hour: str | None = None,
    encoder: str = DEFAULT_MODEL,
    epochs: int | None = None,
    seed: int = 0,
    built_in: SampleOptions = SAMPLE,
    again: bool = False,
) -> None:
    """Run the jobs of a pipeline in order, in one Spark session, and say what came of each.

    sample makes a data set and shows on it what newslake does (--whole: by all their jobs); hourly, daily and
    weekly work on the tables that are there. A job that fails ends the run; the same command goes on from
    that job. Done again after that, sample runs only what is missing, while the others start anew: their jobs
    find out for themselves what has changed. A settings file (--config) may set all options.

    Args:
        pipeline: hourly (vectors of new articles, newsfeed), daily (profiles and vectors of users), weekly
            (topics, recommenders, classifier, short texts), or sample (default: sample; daily with --from).
        as_of: Day of daily and weekly, such as 2019-11-15 (default: today, UTC).
        from_day: Do the daily run of every day from this one on, in order; days that are complete are left
            out.
        to_day: The last of these days (default: today, UTC); it alone goes to Milvus, purges and writes the
            report.
        hour: Hour of hourly, such as 2019-11-15T08 (default: the present one, UTC).
        encoder: Model id or folder of the encoder, for every job that encodes.
        epochs: Epochs of training a recommender at most (default: each model's own).
        seed: Of the sample and what is fitted on it; of the weekly run's recommenders.
        again: Run also what was done before.
    """
    encoding: dict[str, Option] = {"encoder": encoder}
    if from_day is not None or to_day is not None:
        if pipeline not in (None, "daily") or as_of is not None or hour is not None:
            raise UserError(
                "--from does the daily run of several days: it goes with no other --pipeline, --as-of or"
                " --hour"
            )
        _backfill(lake, run, encoding, days_between(from_day, to_day), again)
        return
    pipeline = pipeline or "sample"
    training = {"seed": seed, "epochs": epochs}
    tasks: list[Task]
    name: str = pipeline
    if pipeline == "sample":
        folder = built_in.sample or str((local_work(lake) or Path()) / "_sample")
        made = sample_run(
            folder, {**built_in.sizes, "seed": seed}, encoding, training, seed, whole=built_in.whole
        )
        tasks = [_kept(lake, task) for task in made]
    elif pipeline == "hourly":
        at = f"{parse_hour(hour):%Y-%m-%dT%H}"
        name, tasks = f"hourly {at}", hourly(encoding, hour=at)
    else:
        day = str(datetime.now(UTC).date() if as_of is None else day_of(as_of))
        name = f"{pipeline} {day}"
        tasks = (
            daily(encoding, as_of=day)
            if pipeline == "daily"
            else weekly(encoding, training=training, as_of=day)
        )
    since = None if pipeline == "sample" else _last_complete(lake, name)
    steps = [Step(task) for task in tasks]
    run.fact("pipeline", name)
    try:
        run_steps(lake, run, steps, name=name, since=since, again=again)
    finally:
        print(steps_table(steps, run.seconds), flush=True)
    print(findings(lake))
    print(f"\nTables: {lake}\n{tables_built(lake)}")
    if report := last_report(lake):
        print(f"\nReport: {report}")


def _backfill(
    lake: Lakehouse, run: JobRun, encoding: Mapping[str, Option], days: Sequence[date], again: bool
) -> None:
    run.fact("pipeline", f"backfill {days[0]} to {days[-1]}")
    plan: list[Day] = []
    try:
        backfill(
            lake,
            run,
            days,
            plan,
            tables=partial(_of_day, readers, encoding),
            whole=partial(_of_day, daily, encoding),
            again=again,
        )
    finally:
        print(told(plan), flush=True)


def _of_day(tasks: Callable[..., list[Task]], encoding: Mapping[str, Option], day: str) -> list[Task]:
    return tasks(encoding, as_of=day)


def _kept(lake: Lakehouse, task: Task) -> Task:
    """The task, with the file beside the tables that it must have left to count as done."""
    made = {"write_report": "_report/report.html", "export_articles": "_milvus/newslake.db"}.get(task.key)
    work = local_work(lake)
    return replace(task, makes=(str(work / made),)) if made is not None and work is not None else task


def _last_complete(lake: Lakehouse, name: str) -> datetime | None:
    """When the pipeline was last done to its end: what was done before does not count as done for the next
    run."""
    if not lake.exists("job_runs"):
        return None
    runs = lake.read("job_runs").where(
        (F.col("job") == "run_pipeline") & (F.col("outcome") == "done") & (F.col("facts")["pipeline"] == name)
    )
    row = runs.agg(F.max("ended_at")).head()
    return None if row is None else row[0]
