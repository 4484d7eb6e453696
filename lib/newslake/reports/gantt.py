"""When each job ran: the runs of the last day as bars on one axis of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.reports.charts import Scale, Tick
from newslake.reports.runs import RUNNERS, variant
from newslake.run.jobrun import SIGN_OF_LIFE, every_run

_HOURS = 24
_RUNS, _LANES = 600, 40  # that the page has room for
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Bar:
    """One run: where it begins and how long it is, in per cent of the axis; `state` is done, failed or
    running."""

    left: float
    width: float
    state: str
    began: datetime
    seconds: float


@dataclass(frozen=True)
class Lane:
    """The runs of one job, in order."""

    name: str
    variant: str
    bars: list[Bar]
    seconds: float


@dataclass(frozen=True)
class Gantt:
    """All lanes, the job first that began first.

    Attributes:
        lanes: as many as the page has room for.
        ticks: marks of the axis.
        since, until: its ends.
        left_out: runs that there was no room for.
    """

    lanes: list[Lane]
    ticks: list[Tick]
    since: datetime
    until: datetime
    left_out: int


def time_ticks(since: datetime, until: datetime, most: int = 6) -> list[Tick]:
    """Marks at round times of day, no more than `most` and one; a midnight says its day."""
    span = (until - since).total_seconds()
    step = next((step for step in _STEPS_S if step * most >= span), _STEPS_S[-1])
    scale = Scale(0.0, span)
    begin = (since - _EPOCH).total_seconds()
    found = []
    second = -(-begin // step) * step
    while second <= begin + span:
        at = _EPOCH + timedelta(seconds=second)
        label = f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}" if second % 86400 else f"{at.day} {at:%b}"
        found.append(Tick(scale.at(second - begin), label))
        second += step
    return found


def recent(runs: DataFrame, leave_out: str, hours: float = _HOURS) -> DataFrame:
    """Runs that went on within the hours before the latest one began: job, variant, outcome, began, ended,
    latest first.

    A run that has not ended counts to its last sign of life, where it gives any; else to its begin: it may
    have been killed.

    Args:
        runs: see every_run; those that only call or look at others are left out.
        leave_out: run_id of the run that makes the report.
        hours: how far back.
    """
    sign = F.try_to_timestamp(F.col("facts")[SIGN_OF_LIFE])
    ended = F.coalesce("ended_at", sign, "started_at").alias("ended")
    others = runs.where(
        (F.col("run_id") != leave_out) & ~F.col("job").isin(*RUNNERS) & (F.col("outcome") != "mistake")
    )
    rows = others.select(
        "job", variant().alias("variant"), "outcome", F.col("started_at").alias("began"), ended
    )
    last = rows.agg((F.max("began") - F.make_dt_interval(hours=F.lit(int(hours)))).alias("since"))
    rows = rows.join(F.broadcast(last), on=F.col("ended") >= F.col("since"), how="inner")
    return (
        rows.withColumn("began", F.greatest("began", "since"))
        .drop("since")
        .orderBy(F.desc("began"), "job", "variant")
    )


def gather_gantt(lake: Lakehouse, leave_out: str) -> Gantt | None:
    """The last day's runs; None where there is none."""
    rows = recent(every_run(lake), leave_out).limit(_RUNS + 1).collect()
    return gantt([tuple(row) for row in rows[:_RUNS]], len(rows) - len(rows[:_RUNS]))


def gantt(runs: Sequence[tuple[str, str, str, datetime, datetime]], left_out: int = 0) -> Gantt | None:
    """Runs (job, variant, outcome, began, ended) as bars; None where there is none."""
    if not runs:
        return None
    since, until = min(run[3] for run in runs), max(run[4] for run in runs)
    until = max(until, since + timedelta(seconds=1))
    scale = Scale(0.0, (until - since).total_seconds())
    lanes: dict[tuple[str, str], list[Bar]] = {}
    for name, kind, outcome, began, ended in sorted(runs, key=lambda run: (run[3], run[4])):
        left, right = (scale.at((time - since).total_seconds()) for time in (began, ended))
        bar = Bar(left, round(right - left, 2), outcome, began, (ended - began).total_seconds())
        lanes.setdefault((name, kind), []).append(bar)
    shown = list(lanes.items())[:_LANES]
    left_out += sum(len(bars) for _, bars in list(lanes.items())[_LANES:])
    return Gantt(
        lanes=[Lane(name, kind, bars, sum(bar.seconds for bar in bars)) for (name, kind), bars in shown],
        ticks=time_ticks(since, until),
        since=since,
        until=until,
        left_out=left_out,
    )
