"""Run a stream in micro-batches until it is drained, stopped or broken."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from newslake.errors import JobFailed, UserError
from newslake.lake.error_texts import KAFKA_FAILED
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import nothing_usable
from newslake.streaming.watch import Watch

_POLL_S = 1
Work = Callable[[Lakehouse, DataFrame], str]
"""What to do with one micro-batch; says in a few words what was done. Spark calls it again with the same
messages where it was cut off."""


@dataclass
class Trigger:
    """When a micro-batch starts.

    Attributes:
        once: take what is there now, in as many batches as it needs, and stop.
        every_seconds: else: a batch every so often, where there is something to read.
    """

    once: bool
    every_seconds: float

    def __post_init__(self) -> None:
        if self.every_seconds < 0.0:
            raise UserError("--every-seconds takes 0 or more")

    def options(self) -> dict[str, Any]:
        """What DataStreamWriter.trigger takes."""
        return (
            {"availableNow": True}
            if self.once
            else {"processingTime": f"{round(self.every_seconds * 1000)} milliseconds"}
        )


def run_stream(
    lake: Lakehouse,
    run: JobRun,
    messages: DataFrame,
    work: Work,
    *,
    checkpoint: str,
    trigger: Trigger,
    watch: Watch,
) -> None:
    """Hand the messages to `work`, batch by batch, until they are all read (`once`) or the process is asked
    to stop.

    SIGTERM and Ctrl-C stop it between two looks at the clock; the batch under way is done again by the next
    run. Each batch is handed on at least once: `work` must leave the same tables however often it gets one.

    Args:
        lake: where the tables live.
        run: takes what there is to say.
        messages: a streaming frame.
        work: see Work.
        checkpoint: folder that remembers what has been read.
        trigger: when a batch starts.
        watch: told of each batch, and looked at while there is none.

    Raises:
        JobFailed: the source or the checkpoint failed, or (`once`) there were messages and none could be
            used.
        Exception: what `work` raised.
    """
    failures: list[Exception] = []

    def handle(batch: DataFrame, number: int) -> None:
        began = time.monotonic()
        try:
            # The batch belongs to a session of the stream's own, which every frame that meets it must share.
            with watch.batch():
                said = work(lake.in_session(batch.sparkSession), batch)
        except Exception as error:
            failures.append(error)
            raise
        run.fact("batches", watch.seen.batches)
        run.progress(f"batch {number}: {said}; {time.monotonic() - began:.1f} s")

    query = (
        messages.writeStream.foreachBatch(handle)
        .option("checkpointLocation", checkpoint)
        .trigger(**trigger.options())
        .start()
    )
    with _stop_signals() as stopping:
        try:
            while not stopping.is_set() and not query.awaitTermination(_POLL_S):
                watch.look(lake, query)
            if trigger.once and not stopping.is_set():
                watch.drained()
        except KeyboardInterrupt:
            stopping.set()
        except StreamingQueryException as error:
            if not stopping.is_set():
                raise _reason(error, failures, checkpoint) from None
        finally:
            _stop(query)
    if stopping.is_set():
        run.progress("asked to stop: the batch under way, if any, is done again by the next run")
    elif trigger.once and run.rows_read and run.rows_unusable == run.rows_read:
        raise JobFailed(nothing_usable("message", run.rows_read, run.reasons))


def _stop(query: StreamingQuery) -> None:
    if query.isActive:
        query.stop()


def _reason(error: StreamingQueryException, failures: list[Exception], checkpoint: str) -> Exception:
    """What to tell: the failure of our own code as it was, what we know of Spark's in one line."""
    if failures:
        return failures[-1]
    text = str(error)
    if "CONCURRENT_STREAM_LOG_UPDATE" in text or "Concurrent update to the log" in text:
        return JobFailed(f"another run of this stream uses the checkpoint {checkpoint}")
    if "data may be lost" in text.lower() or "KAFKA_DATA_LOSS" in text:
        return JobFailed(
            "Kafka deleted messages before they were read, or the topic was made anew. To go on with what is"
            f" there, remove {checkpoint}: what is read twice is written once"
        )
    if kafka := KAFKA_FAILED.search(text):
        return JobFailed(
            f"Kafka failed while the stream ran ({kafka['what']}): run it again when Kafka answers, nothing"
            " is lost"
        )
    return error  # a full disk and the like, which cli explains


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while the block runs; only where this is the main thread, which
    alone may ask for them."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    # Spark's own handler of SIGINT cancels the running jobs: the batch would fail rather than stop.
    old = {
        which: signal.signal(which, lambda *_: stopping.set()) for which in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopping
    finally:
        for which, handler in old.items():
            signal.signal(which, handler)
