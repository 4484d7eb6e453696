"""What Prometheus wants to know of a stream, as a file for the textfile collector of its node exporter."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from newslake.errors import UserError
from newslake.run.jobrun import JobRun, first_line, log

_LABELS = ("job", "source")


@dataclass
class Seen:
    """What there is to tell of a running stream, besides what its run counts.

    Attributes:
        lag_s: how long the oldest message that waits has waited, as far as is known; seconds.
        batches: micro-batches that are done.
        newest: when the newest message that was taken had arrived, UTC without a zone.
        looked_at: when the stream last looked for messages, UTC without a zone.
    """

    lag_s: float = 0.0
    batches: int = 0
    newest: datetime | None = None
    looked_at: datetime | None = None


class MetricsFile:
    """A file that always holds a whole set of metrics: each is written beside it, and then takes its name.

    Args:
        path: of the file; None writes nothing.
        run: what the stream has counted since it was started.
        source: what it reads, for the label `source`.
        seen: see Seen.

    Raises:
        UserError: there can be no such file.
    """

    def __init__(self, path: str | None, run: JobRun, source: str, seen: Seen) -> None:
        self._path, self._run, self._seen = path, run, seen
        self._labels = [run.job, source]
        self._failed = False
        self._registry = CollectorRegistry()
        if path is None:
            return
        folder = os.path.dirname(os.path.abspath(path))
        if not path.endswith(".prom") or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise UserError(
                f"--metrics-file {path}: give a file that ends in .prom, in a folder that is there and may be"
                " written"
            )
        self._registry.register(self)  # a Collector by its one method

    def write(self) -> None:
        """Write what is known now. A disk that takes no more is told of once; the stream goes on."""
        if self._path is None:
            return
        try:
            write_to_textfile(self._path, self._registry)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning(
                    "%s: the metrics could not be written to %s: %s",
                    self._run.job,
                    self._path,
                    first_line(error),
                )
            self._failed = True

    def collect(self) -> Iterable[Metric]:
        """The metrics, as prometheus_client asks for them. Times are seconds since 1970: ages are for the one
        who asks (time() - ...)."""
        seen, run = self._seen, self._run
        yield self._one(
            CounterMetricFamily, "messages", "Messages read since the stream was started", run.rows_read or 0
        )
        yield self._one(
            CounterMetricFamily, "quarantined", "Inputs that went to quarantine since then", run.rows_rejected
        )
        yield self._one(CounterMetricFamily, "batches", "Micro-batches done since then", seen.batches)
        rows = CounterMetricFamily(
            "newslake_stream_rows", "Rows written since then, by table", labels=[*_LABELS, "table"]
        )
        for table, count in list(run.rows_written.items()):
            rows.add_metric([*self._labels, table], count)
        yield rows
        yield self._one(
            GaugeMetricFamily,
            "lag_seconds",
            "How long the oldest message that waits has waited; 0 where none waits",
            seen.lag_s,
        )
        for name, about, when in (
            (
                "newest_message_timestamp_seconds",
                "When the newest message that was taken had arrived",
                seen.newest,
            ),
            ("last_look_timestamp_seconds", "When the stream last looked for messages", seen.looked_at),
        ):
            if when is not None:
                yield self._one(GaugeMetricFamily, name, about, when.replace(tzinfo=UTC).timestamp())

    def _one(self, kind: Any, name: str, about: str, value: float) -> Metric:
        family: Any = kind(f"newslake_stream_{name}", about, labels=list(_LABELS))
        family.add_metric(self._labels, value)
        found: Metric = family
        return found
