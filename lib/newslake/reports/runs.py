"""What job_runs says: rows in and out of each job, how long it took, and what went wrong."""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.charts import LogScale, Tick, log_scale
from newslake.run.jobrun import every_run

RUNNERS = ("run_pipeline", "write_report")
"""Jobs that only call or look at others: their rows and times are those of others."""

_EARLIER = 12  # runs of a job that the sparkline shows
_JOBS = 80  # jobs, with their variants, that the page has room for


@dataclass(frozen=True)
class Flow:
    """Rows of one job: of its latest run that wrote any."""

    name: str
    variant: str
    at: datetime
    read: int | None
    written: dict[str, int]
    rejected: int
    checked_at: datetime | None  # a later run that wrote nothing

    @property
    def rows(self) -> int:
        """Rows written to all tables."""
        return sum(self.written.values())


@dataclass(frozen=True)
class Timing:
    """Seconds of a job: of its latest run, and of the ones before it, oldest first."""

    name: str
    variant: str
    seconds: float
    earlier: list[float]


@dataclass(frozen=True)
class Trouble:
    """A job whose latest run did not come to its end."""

    name: str
    variant: str
    outcome: str
    at: datetime
    message: str


@dataclass(frozen=True)
class Runs:
    """What the runs say."""

    flows: list[Flow]
    scale: LogScale
    ticks: list[Tick]
    timings: list[Timing]
    longest: float
    total_seconds: float
    troubles: list[Trouble]
    first_at: datetime
    last_at: datetime


def variant() -> Column:
    """What tells several uses of one job apart: the model that is trained; empty for other jobs."""
    # An option that was not given is NULL; earlier releases wrote "None".
    model, trained_on = (F.nullif(F.col("settings")[name], F.lit("None")) for name in ("model", "trained_on"))
    return F.coalesce(model, trained_on, F.lit(""))


def recent_runs(runs: DataFrame, leave_out: str) -> DataFrame:
    """Each job's latest runs, numbered: `place` 1 is the latest of any outcome, `done_place` 1 the latest
    that is done.

    Args:
        runs: see every_run.
        leave_out: run_id of the run that makes the report.

    Returns:
        job, variant, began (the job's first run ever), place, done_place, effect_place (1: the latest done
            run that wrote
        rows), started_at, seconds, rows_in, rows_out, rows_quarantined, outcome, message. At most a few rows
            a job.
    """
    rows = runs.where((F.col("run_id") != leave_out) & ~F.col("job").isin(*RUNNERS)).select(
        "job",
        variant().alias("variant"),
        "run_id",
        "started_at",
        ((F.unix_micros("ended_at") - F.unix_micros("started_at")) / 1e6).alias("seconds"),
        "rows_in",
        F.coalesce("rows_out", F.expr("map()").cast("map<string,bigint>")).alias("rows_out"),
        F.coalesce("rows_quarantined", F.lit(0)).alias("rows_quarantined"),
        "outcome",
        "message",
        (F.col("outcome") == "done").alias("done"),
    )
    written = F.aggregate(F.map_values("rows_out"), F.lit(0).cast("bigint"), lambda total, n: total + n)
    rows = rows.withColumn("effect", F.col("done") & (written > 0))
    of_job = Window.partitionBy("job", "variant")
    latest = of_job.orderBy(F.desc("started_at"), F.desc("run_id"))
    placed = rows.select(
        "*",
        F.min("started_at").over(of_job).alias("began"),
        F.row_number().over(latest).alias("place"),
        F.sum(F.col("done").cast("int")).over(latest).alias("done_place"),
        F.sum(F.col("effect").cast("int")).over(latest).alias("effect_place"),
    )
    shown = (
        (F.col("place") == 1)
        | (F.col("done") & (F.col("done_place") <= _EARLIER))
        | (F.col("effect") & (F.col("effect_place") == 1))
    )
    return placed.where(shown).orderBy("began", "job", "variant", F.desc("started_at"), F.desc("run_id"))


def gather_runs(lake: Lakehouse, leave_out: str) -> Runs | None:
    """What the report shows of job_runs; None where no other run is there."""
    rows = recent_runs(every_run(lake), leave_out).limit(_JOBS * (_EARLIER + 2)).collect()
    if not rows:
        return None
    jobs = list(dict.fromkeys((row["job"], row["variant"]) for row in rows))
    flows, timings, troubles = [], [], []
    for name, kind in jobs:
        own = [row for row in rows if (row["job"], row["variant"]) == (name, kind)]
        done = [row for row in own if row["done"]]
        if own[0]["outcome"] != "done":
            troubles.append(
                Trouble(name, kind, own[0]["outcome"], own[0]["started_at"], own[0]["message"] or "")
            )
        if done:
            shown = next((row for row in done if row["effect"]), done[0])
            checked = done[0]["started_at"] if done[0] is not shown else None
            flow = (shown["started_at"], shown["rows_in"], dict(shown["rows_out"]), shown["rows_quarantined"])
            # Else it reads and writes no rows, but files.
            if shown["rows_in"] is not None or shown["rows_out"]:
                flows.append(Flow(name, kind, *flow, checked))
            seconds = [float(row["seconds"]) for row in done[:_EARLIER]]
            timings.append(Timing(name, kind, seconds[0], seconds[:0:-1]))
    scale = log_scale([count for flow in flows for count in (flow.read or 0, flow.rows, flow.rejected)])
    return Runs(
        flows=flows,
        scale=scale,
        ticks=scale.ticks(),
        timings=timings,
        longest=max((timing.seconds for timing in timings), default=0.0),
        total_seconds=sum(timing.seconds for timing in timings),
        troubles=troubles,
        first_at=min(row["started_at"] for row in rows),
        last_at=max(row["started_at"] for row in rows),
    )
