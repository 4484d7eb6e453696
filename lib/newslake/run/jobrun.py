"""What one run of a job reports: progress on stderr, a summary, and its rows in the tables job_starts and
job_runs."""

import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.settings import SettingsFile
from newslake.spark.frames import frame_of

log = logging.getLogger("newslake")

SIGN_OF_LIFE, LAG = "last sign of life", "lag in seconds"
"""Facts of a stream's run: when it last looked for messages (ISO, UTC), and how long the oldest one that
waited had waited then."""

_BEGUN, _ENDED = "job_starts", "job_runs"
# Max_tokens is none.
_SECRET_NAME = re.compile(r"(token|password|passwd|secret|credentials?|key|webhook)$", re.IGNORECASE)
_SECRET_IN_URI = re.compile(
    r"(?<=://)[^/@\s]+(?=@)|(?<=[?&])(sig|token|password|secret)=[^&\s]+", re.IGNORECASE
)


class JobRun:
    """Counts and facts that a job gathers while it runs. Not thread-safe: a job reports from its driver's
    main thread."""

    def __init__(
        self,
        job: str,
        settings: Mapping[str, object] | None = None,
        settings_file: SettingsFile | None = None,
    ) -> None:
        self.job = job
        self.settings_file = settings_file or SettingsFile()
        self.settings = {
            name: None if value is None else masked(name, value) for name, value in (settings or {}).items()
        }
        self.started_at = datetime.now(UTC)
        self.run_id = f"{job}-{self.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.rows_read: int | None = None
        self.rows_written: dict[str, int] = {}
        self.rows_rejected = 0
        self.rows_unusable = 0
        self.reasons: Counter[str] = Counter()
        self.facts: dict[str, str] = {}
        self.oldest: datetime | None = None
        self.newest: datetime | None = None
        self._clock = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._clock

    def rows_in(self, n: int) -> None:
        """Add to the input rows or lines that the job read."""
        self.rows_read = (self.rows_read or 0) + int(n)

    def wrote(self, table: str, n: int) -> None:
        """Add to the rows written to a table."""
        self.rows_written[table] = self.rows_written.get(table, 0) + int(n)

    def quarantined(self, n: int) -> None:
        """Add to the rows that went to quarantine."""
        self.rows_rejected += int(n)

    def could_not_use(self, n: int, reasons: Mapping[str, int]) -> None:
        """Add to the inputs that could not be used, with the most frequent reasons and how often each was
        found."""
        self.rows_unusable += int(n)
        self.reasons.update(reasons)

    def arrived(self, oldest: datetime | None, newest: datetime | None) -> None:
        """Note when the first and the last of the inputs that are worked on arrived, UTC without a zone; None
        where there are none."""
        self.oldest, self.newest = oldest, newest

    def fact(self, name: str, value: object) -> None:
        """Note what else is worth saying, such as `candidates without an article: 12`."""
        self.facts[name] = (
            f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        )

    def progress(self, text: str) -> None:
        """Say on stderr how far the job is."""
        log.info("%s: %6.1f s  %s", self.job, self.seconds, text)

    def summary(self) -> str:
        """The run in a few words, for one log line."""
        parts = [] if self.rows_read is None else [f"{self.rows_read:,} in"]
        parts += [f"{n:,} to {table}" for table, n in self.rows_written.items()]
        parts += [f"{self.rows_rejected:,} quarantined"]
        parts += [f"{name}: {value}" for name, value in self.facts.items()]
        return ", ".join(parts)


@contextmanager
def recorded(lake: Lakehouse, run: JobRun) -> Iterator[None]:
    """Keep the run: a row in job_starts when it begins, one in job_runs when it ends. A killed run has the
    first alone.

    Both rows are appended, which is 2 executions in Delta; to put the end in place of the start would be 10.

    The first run of a new lakehouse has no row at its start, and none where it ends in a user's mistake: a
    mistyped --lakehouse then leaves no folder behind.
    """
    if known := any(lake.exists(table) for table in (_ENDED, _BEGUN)):
        lake.append(_BEGUN, _begun(lake, run))
    try:
        yield
    except BaseException as error:
        mistake = isinstance(error, UserError)
        if known or not mistake:
            _try_to_record(
                run, partial(_append_end, lake, run, "mistake" if mistake else "failed", first_line(error))
            )
        raise
    _append_end(lake, run, "done", None)


def keep_running(lake: Lakehouse, run: JobRun) -> None:
    """Bring the row of a run that goes on up to date with what it has counted so far; where that fails, the
    run goes on."""
    _try_to_record(run, lambda: lake.replace(_BEGUN, _begun(lake, run), where={"run_id": run.run_id}))


def every_run(lake: Lakehouse) -> DataFrame:
    """The runs as job_runs has them, and with outcome `running` those of job_starts that have not ended: they
    still run, or were killed."""
    ended, begun = lake.read_or_empty(_ENDED), lake.read_or_empty(_BEGUN)
    running = begun.join(ended, on="run_id", how="left_anti").withColumn("outcome", F.lit("running"))
    return ended.unionByName(running, allowMissingColumns=True)


def first_line(error: BaseException) -> str:
    """What went wrong, in one line, without anything secret."""
    lines = str(error).strip().splitlines()
    if isinstance(error, Py4JJavaError):  # its first line says which call failed, its causes why
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return masked("", (causes or [line.removeprefix(": ") for line in lines[1:2]] or lines)[-1])[:1000]
    return masked("", f"{type(error).__name__}: {lines[0] if lines else ''}")[:1000]


def masked(name: str, value: object) -> str:
    """A setting as text, with what looks like a credential hidden."""
    if value is not None and name and _SECRET_NAME.search(name):
        return "***"
    return _SECRET_IN_URI.sub("***", str(value))


def _try_to_record(run: JobRun, write: Callable[[], object]) -> None:
    # The job's own failure is what its user must see, not that its record could not be written too.
    try:
        write()
    except Exception as error:
        log.warning("%s: the run could not be recorded: %s", run.job, first_line(error))


def _begun(lake: Lakehouse, run: JobRun) -> DataFrame:
    counted = (run.rows_read, run.rows_written, run.rows_rejected, run.facts)
    return frame_of(
        lake.spark, [(run.run_id, run.job, run.settings, run.started_at, *counted)], lake.schema(_BEGUN)
    )


def _append_end(lake: Lakehouse, run: JobRun, outcome: str, message: str | None) -> None:
    counted = (run.rows_read, run.rows_written, run.rows_rejected, run.facts)
    values = (
        run.run_id,
        run.job,
        run.settings,
        run.started_at,
        datetime.now(UTC),
        *counted,
        outcome,
        message,
    )
    lake.append(_ENDED, frame_of(lake.spark, [values], lake.schema(_ENDED)))
