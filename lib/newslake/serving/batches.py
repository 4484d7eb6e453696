"""A frame's rows on their way through the driver: as Arrow batches of a bounded size, one after the other."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame

_PACKED = "batch"


def arrow_batches(rows: DataFrame, *, count: int, batch_rows: int, by: str) -> Iterator[pa.Table]:
    """The rows, at most `batch_rows` at a time; the driver holds about one batch, and the executors make the
    next.

    Spark's own iterator goes row by row through Python; here a task packs its rows as Arrow's bytes, and each
    batch is one row.

    Args:
        rows: the frame.
        count: about how many rows it has: decides into how many tasks it is split, since a task's rows come
            at once.
        batch_rows: rows of a batch at most.
        by: the column whose hash splits the rows.
    """
    parts = max(1, -(-count // batch_rows))

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in sliced(batches, batch_rows):
            yield pa.RecordBatch.from_arrays([pa.array([_bytes(batch)], pa.binary())], [_PACKED])

    for row in rows.repartition(parts, by).mapInArrow(pack, f"{_PACKED} binary").toLocalIterator():
        yield pa.ipc.open_stream(row[0]).read_all()


def sliced(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most so many."""
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _bytes(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())
