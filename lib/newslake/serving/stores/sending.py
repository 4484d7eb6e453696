"""Items on their way to a store and out of it: by tasks in the executors where the store lets several
processes write, else by the driver.

A task that is tried again sends its items again, each over itself, and deletes what may be gone already.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.errors import PythonException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.serving.batches import arrow_batches, sliced
from newslake.serving.stores.limits import Limits
from newslake.serving.stores.store import EXPIRES, HASH, ITEM, Collection, Opener, VectorStore
from newslake.spark.frames import Frames

NOTED = [ITEM, HASH, EXPIRES]
"""What is known of an item once it is sent."""
_USERS_MISTAKE = re.compile(r"newslake\.errors\.UserError: (.+)")


def sent(
    store: VectorStore, collection: Collection, items: DataFrame, frames: Frames, *, rows: int, limits: Limits
) -> DataFrame:
    """Send items; returns what was sent, NOTED, which is not sent again when it is read.

    Args:
        store, collection: where to.
        items: item_id, inputs_hash, expires_at, the collection's scalars and vector.
        frames: keeps what was sent.
        rows: about how many.
        limits: what bounds it.
    """
    again = store.for_executors()
    if again is not None:

        def send(at: VectorStore, batch: pa.RecordBatch) -> None:
            at.upsert(collection, pa.Table.from_batches([batch]))

        return _by_executors(items, again, send, NOTED, frames, rows, limits)
    notes = []
    for batch in arrow_batches(items, count=rows, batch_rows=limits.batch_rows, by=ITEM):
        store.upsert(collection, batch)
        notes.append(batch.select(NOTED))
    if not notes:
        return items.select(*NOTED).limit(0)
    return items.sparkSession.createDataFrame(pa.concat_tables(notes))


def deleted(
    store: VectorStore, collection: Collection, gone: DataFrame, frames: Frames, *, rows: int, limits: Limits
) -> Iterator[DataFrame]:
    """Delete items; gives those that were deleted, part by part: item_id.

    Args:
        gone: item_id.
        store, collection, frames, rows, limits: as for `sent`.
    """
    again = store.for_executors()
    if again is not None:

        def delete(at: VectorStore, batch: pa.RecordBatch) -> None:
            at.delete(collection, batch[ITEM].to_pylist())

        yield _by_executors(gone.select(ITEM), again, delete, [ITEM], frames, rows, limits)
        return
    # Ids are short: as many as fit a slice go through the driver at once.
    for batch in arrow_batches(gone, count=rows, batch_rows=limits.slice_rows, by=ITEM):
        ids = batch[ITEM].to_pylist()
        for start in range(0, len(ids), limits.batch_rows):
            store.delete(collection, ids[start : start + limits.batch_rows])
        yield gone.sparkSession.createDataFrame(batch)


def _by_executors(
    items: DataFrame,
    again: Opener,
    act: Callable[[VectorStore, pa.RecordBatch], None],
    noted: Sequence[str],
    frames: Frames,
    rows: int,
    limits: Limits,
) -> DataFrame:
    """Do something with a store for items, a request at a time; returns some of their columns, kept."""

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with again() as store:
            for batch in sliced(batches, limits.batch_rows):
                act(store, batch)
                yield batch.select(noted)

    schema = ", ".join(f"{name} {items.schema[name].dataType.simpleString()}" for name in noted)
    return _once(items.repartition(_tasks(rows, limits), ITEM).mapInArrow(work, schema), frames)


def _tasks(rows: int, limits: Limits) -> int:
    """As many as there are requests, and no more than may write at once."""
    return max(1, min(limits.writers, -(-rows // limits.batch_rows)))


def _once(notes: DataFrame, frames: Frames) -> DataFrame:
    """The notes, kept: only what an executor takes with it is sent again, over itself.

    Raises:
        UserError: a task cannot open the store, which the driver could.
    """
    kept = frames.keep(notes)
    try:
        kept.agg(F.count("*")).collect()
    except PythonException as error:
        if told := _USERS_MISTAKE.search(str(error)):
            raise UserError(
                f"{told[1]} (reported by an executor: the driver and all executors must reach it)"
            ) from None
        raise
    return kept
