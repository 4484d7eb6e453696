"""An eye on a running stream: how long messages wait, and signs of life in job_starts and for Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql.streaming.query import StreamingQuery

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import LAG, SIGN_OF_LIFE, JobRun, keep_running
from newslake.run.options import utc_now
from newslake.streaming.metrics import MetricsFile, Seen

SIGN_S = 300.0
"""How often a stream says in job_starts that it is alive: each time is a commit."""
METRICS_S = 15.0
"""How often its metrics are written, beside after each batch."""


class Watch:
    """How far a stream is behind: what the oldest message of the last batch had waited when the batch was
    done, or longer, while the next one is under way; nothing, once no message waits.

    Args:
        run: of the stream; its batches tell it when their messages arrived.
        metrics_file: file for Prometheus, if any.
        source: what the stream reads.

    Raises:
        UserError: there can be no such file.
    """

    def __init__(self, run: JobRun, metrics_file: str | None = None, source: str = "") -> None:
        self.lag_s = 0.0
        self.seen = Seen()
        self._run = run
        self._metrics = MetricsFile(metrics_file, run, source, self.seen)
        self._began: float | None = None  # the batch under way
        self._signed = self._written = time.monotonic()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Around the work of a batch, which tells the run when its messages arrived."""
        self._began = time.monotonic()
        try:
            yield
            oldest, newest = self._run.oldest, self._run.newest
            self.lag_s = max(0.0, (utc_now() - oldest).total_seconds()) if oldest is not None else 0.0
            if newest is not None:
                self.seen.newest = max(newest, self.seen.newest or newest)
            self.seen.batches += 1
        finally:
            self._began = None
        self._note()

    def look(self, lake: Lakehouse, query: StreamingQuery) -> None:
        """From time to time while the stream runs: note that it does."""
        now = time.monotonic()
        if now - self._signed < SIGN_S and now - self._written < METRICS_S:
            return
        if not query.status["isDataAvailable"] and self._began is None:
            self.lag_s = 0.0
        self._note()
        if now - self._signed >= SIGN_S:
            self._signed = now
            keep_running(lake, self._run)

    def drained(self) -> None:
        """Nothing waits any more."""
        self.lag_s = 0.0
        self._note()

    def _note(self) -> None:
        began = self._began
        self._written = time.monotonic()
        self.seen.lag_s = max(self.lag_s, self._written - began if began is not None else 0.0)
        self.seen.looked_at = utc_now()
        self._run.fact(SIGN_OF_LIFE, self.seen.looked_at.isoformat(timespec="seconds"))
        self._run.fact(LAG, f"{self.seen.lag_s:.1f}")
        self._metrics.write()
