"""Training examples from staged Parquet, through Petastorm. The only module that knows Petastorm.

An epoch is: row groups in random order, read by Petastorm; a buffer of clicks gathered from several of them;
each click made into examples (itself and a few skips drawn afresh); the buffer's examples shuffled, and cut
into batches. All of it in whole arrays, in a background thread. The order depends on seed and epoch alone.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from newslake.errors import JobFailed
from newslake.training.data.batches import (
    Arrays,
    Clicks,
    Columns,
    Examples,
    click_columns,
    example_columns,
    tensors,
)
from newslake.training.data.petastorm_compat import (
    ArrowReaderWorker,
    DummyPool,
    EmptyResultError,
    LocalFiles,
    Reader,
)
from newslake.training.data.prefetch import Prefetched
from newslake.training.data.sampling import mixed

logging.getLogger("petastorm").setLevel(logging.ERROR)

Block = Examples | Clicks
COLUMNS = ("click_id", "user", "history", "clicked", "skip_count", "skips")


class ClickFeed:
    """Feeds one process (one shard) with the examples of staged clicks, epoch by epoch.

    Args:
        files: the Parquet files of staging's `clicks`, in order.
        seed: with the epoch, decides the order and the skips drawn.
        skips: drawn per click and epoch; a click with fewer gives them all.
        batch_size: examples (or clicks); blocks hold whole batches, so that only an epoch's last batch is
            short.
        grouped: give Clicks, each with its skips, rather than Examples, shuffled one by one.
        buffer_clicks: clicks that are shuffled together. A row group has impressions of one length: a buffer
            takes many.
        shard, shard_count: this process reads the row groups whose number leaves `shard` on division by
            `shard_count`.

    Attributes:
        rows: clicks of this shard.
        waited: seconds that the consumer has waited for examples so far.
    """

    def __init__(
        self,
        files: list[str],
        *,
        seed: int,
        skips: int,
        batch_size: int,
        grouped: bool = False,
        buffer_clicks: int = 65536,
        shard: int = 0,
        shard_count: int = 1,
    ) -> None:
        self._files = files
        self._seed, self._skips, self._batch_size, self._buffer_clicks = (
            seed,
            skips,
            batch_size,
            buffer_clicks,
        )
        self._shard, self._shard_count, self._grouped = shard, shard_count, grouped
        groups = [size for file in files for size in _row_groups(file)]
        if len(groups) < shard_count:
            raise JobFailed(
                f"{len(groups)} row groups of clicks are too few for {shard_count} processes: use fewer"
            )
        self.rows = sum(groups[shard::shard_count])
        self.waited = 0.0

    @contextmanager
    def epochs(self, first: int, last: int) -> Iterator[Iterator[tuple[int, Iterator[Block]]]]:
        """For each epoch from `first` to `last`: the epoch and its blocks of examples. Blocks of the next are
        prepared ahead.

        Raises:
            JobFailed: (while iterating) an epoch had another number of clicks than the files hold.
        """
        with Prefetched(self._all(first, last), ahead=2) as blocks:
            yield self._by_epoch(iter(blocks), first, last)

    def _by_epoch(
        self, blocks: Iterator[Block | None], first: int, last: int
    ) -> Iterator[tuple[int, Iterator[Block]]]:
        def of_one_epoch() -> Iterator[Block]:
            while True:
                start = time.perf_counter()
                block = next(blocks)
                self.waited += time.perf_counter() - start
                if block is None:
                    return
                yield block

        for epoch in range(first, last + 1):
            yield epoch, of_one_epoch()

    def _all(self, first: int, last: int) -> Iterator[Block | None]:
        for epoch in range(first, last + 1):
            yield from self.blocks(epoch)
            yield None  # the end of an epoch

    def blocks(self, epoch: int) -> Iterator[Block]:
        """One epoch's examples (or clicks) in shuffled blocks, read in this thread."""
        random = np.random.default_rng([self._seed & 0xFFFFFFFF, epoch, self._shard])
        rows, left = 0, None
        for clicks, columns in self._buffers(epoch):
            rows += clicks
            order = random.permutation(len(columns[0]))
            columns = tuple(column[order] for column in columns)
            if left is not None:  # goes first: it has been shuffled already
                columns = tuple(np.concatenate(pair) for pair in zip(left, columns, strict=True))
            whole = len(columns[0]) - len(columns[0]) % self._batch_size
            left = tuple(column[whole:] for column in columns)
            if whole:
                yield self._block(tuple(column[:whole] for column in columns))
        if rows != self.rows:
            raise JobFailed(f"Petastorm gave {rows:,} of {self.rows:,} clicks in epoch {epoch}")
        if left is not None and len(left[0]):
            yield self._block(left)

    def _block(self, columns: Columns) -> Block:
        return Clicks(*tensors(columns)) if self._grouped else Examples(*tensors(columns))

    def _buffers(self, epoch: int) -> Iterator[tuple[int, Columns]]:
        """Clicks of several row groups at a time, `buffer_clicks` or a little more: how many, and their
        columns.

        Skips are drawn row group by row group: a click's hundreds of skips need not be copied to draw a few
        of them.
        """
        key = mixed(self._seed, epoch)
        make = click_columns if self._grouped else example_columns
        parts: list[Columns] = []
        held = 0
        for group in read_row_groups(self._files, COLUMNS, key, self._shard, self._shard_count):
            parts.append(make(group, key, self._skips))
            held += len(group["click_id"])
            if held >= self._buffer_clicks:
                yield held, _joined(parts)
                parts, held = [], 0
        if parts:
            yield held, _joined(parts)


def read_row_groups(
    files: list[str], columns: Sequence[str], seed: int, shard: int = 0, shard_count: int = 1
) -> Iterator[Arrays]:
    """Row groups in an order that the seed decides, each as one array a column; lists must have one length.

    Built as petastorm.make_batch_reader builds its reader, which cannot be given a pool.
    """
    reader = Reader(
        LocalFiles(),
        [str(Path(file).absolute()) for file in files],
        schema_fields=[f"^{name}$" for name in columns],
        worker_class=_RowGroupWorker,
        reader_pool=_SequentialPool(),
        is_batched_reader=True,
        seed=seed & 0xFFFFFFFF,
        shuffle_row_groups=True,
        num_epochs=1,
        cur_shard=shard if shard_count > 1 else None,
        shard_count=shard_count if shard_count > 1 else None,
    )
    try:
        for group in reader:
            yield {name: getattr(group, name) for name in columns}
    finally:
        reader.stop()
        reader.join()


class _RowGroupWorker(ArrowReaderWorker):
    """Gives a column of lists as one array. Petastorm's own way there, an array for each list, takes as long
    as all the rest."""

    @staticmethod
    def new_results_queue_reader() -> "_RowGroups":
        return _RowGroups()


class _RowGroups:
    batched_output = True

    def read_next(self, pool: Any, schema: Any, ngram: Any) -> Any:
        try:
            table = pool.get_results()
        except EmptyResultError:
            raise StopIteration from None
        return schema.make_namedtuple(
            **{name: _array(name, table.column(name).combine_chunks()) for name in table.column_names}
        )


def _array(name: str, column: pa.Array) -> npt.NDArray[Any]:
    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    values = column.flatten().to_numpy(zero_copy_only=False)
    width = len(values) // max(1, len(column))
    if (np.diff(column.offsets.to_numpy()) != width).any():
        raise JobFailed(f"the lists of {name} have several lengths: remove the staging folder and run again")
    return values.reshape(len(column), width)


class _SequentialPool(DummyPool):
    """Reads in the thread that asks, so that a seed gives one order.

    Petastorm's own DummyPool asks whether the ventilator is done after it has found the queue empty: where
    the last row group is queued in between, it waits for ever. (Its thread pool ends early there, and the
    rows are lost.) Asked first, "done" means that everything has been queued.
    """

    def __init__(self) -> None:
        super().__init__()
        # How many row groups are queued (by number, not read yet): with few, who queues them sleeps 10 ms
        # whenever those are waiting.
        self.workers_count = 1_000_000

    def get_results(self) -> Any:
        while not self._results_queue:
            done = self._ventilator.completed()
            if self._ventilator_queue:
                args, kwargs = self._ventilator_queue.pop(0)
                self._worker.process(*args, **kwargs)
                self._ventilator.processed_item()
            elif done:
                raise EmptyResultError
            else:
                time.sleep(0.0005)
        return self._results_queue.pop(0)


def _joined(parts: list[Columns]) -> Columns:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _row_groups(file: str) -> list[int]:
    metadata = pq.read_metadata(file)
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
