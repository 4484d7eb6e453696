"""Vectors read from Parquet files by whoever needs them, past the JVM: moving rows into Python costs more
than reading them there."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from newslake.files.storage import Storage, storage_of
from newslake.search.scratch import Scratch

Item = TypeVar("Item")
_BATCH_ROWS = 8192
_LOOK_AT = 1000
_LARGEST = 1e18  # lengths above it would overflow float32 when multiplied

NULL_VECTOR = "the vector is NULL, or holds a NULL"
NOT_FINITE = "the vector holds a NaN, or is not finite"
NO_LENGTH = "the vector has zero length"
NO_WEIGHT = "the weight is no number from 0 on"


@dataclass(frozen=True)
class Unit:
    """One row group of one file: what a task is made of."""

    file: str
    group: int
    rows: int


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map of vectors, from one size to the same.

    Attributes:
        matrix: (d, d), by which rows are multiplied.
    """

    matrix: npt.NDArray[np.float64]

    def __call__(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, d) projected. In double precision, so that a row comes out the same whatever rows stand beside
        it."""
        found: npt.NDArray[np.float32] = (vectors.astype(np.float64) @ self.matrix).astype(np.float32)
        return found


@dataclass(frozen=True)
class VectorFiles:
    """One side of a search: Parquet files with an id and a vector in each row.

    Attributes:
        files: URIs.
        id_column: name of the id (string).
        vector_column: name of the vector (array<float>).
        weight_column: name of a number from 0 on that says how much the vector counts; None: all count the
            same.
        where: other columns of the files, and the one value that a row must have in each.
        only: files with a column of that id: only these ids take part. None: all.
        identity: what must be the same on both sides, such as encoder_id; vectors of different ones cannot be
            compared.
        projection: what the vectors that can be searched go through as they are read; None: nothing.
        storage: by which settings the files are opened, see `storage_of`; those of local files need none.
    """

    files: tuple[str, ...]
    id_column: str
    vector_column: str
    where: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    weight_column: str | None = None
    projection: Projection | None = None
    storage: Storage = field(default_factory=Storage)

    @classmethod
    def of(
        cls, rows: DataFrame, id_column: str, vector_column: str, scratch: Scratch, **further: Any
    ) -> "VectorFiles":
        """The files behind a frame (see `Scratch.listed`), wherever they lie: by what its session's settings
        say of the places.

        Args:
            rows: filter a Delta table by its partitions alone.
            id_column, vector_column: of the files.
            scratch: takes a copy where there are many small files; lives as long as the side is read.
            further: other attributes, by name.
        """
        side = cls((), id_column, vector_column, **further)
        side = replace(side, files=scratch.listed(rows, side.columns))
        return replace(side, storage=storage_of(rows.sparkSession, (*side.files, *(side.only or ()))))

    @property
    def columns(self) -> list[str]:
        """The columns of the files that are read."""
        weight = [] if self.weight_column is None else [self.weight_column]
        return list(dict.fromkeys([self.id_column, self.vector_column, *weight, *self.where]))

    def units(self) -> list[Unit]:
        """The row groups of all files, from their footers."""
        with ThreadPoolExecutor(8) as pool:
            return [
                unit for found in pool.map(partial(_row_groups, self.storage), self.files) for unit in found
            ]

    def dimension(self, units: Sequence[Unit]) -> int | None:
        """The most frequent size among the side's first vectors; None where it has none. All others are
        rejected.

        Vectors of rows that `where` leaves out may be another encoder's, of another size: they say nothing
        here.
        """
        for unit in units:
            for batch in _batches(self, unit, rows=_LOOK_AT):
                lists = batch.column(batch.schema.names.index(self.vector_column))
                sizes = Counter(size for size in pc.list_value_length(lists).to_pylist() if size)
                if sizes:
                    return max(sizes, key=lambda size: (sizes[size], size))
        return None


@dataclass(frozen=True)
class Rows:
    """Rows of one chunk: n ids, (n, d) float32 vectors, n weights (all 1 where the side has none)."""

    ids: pa.Array
    vectors: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rejects:
    """Rows that cannot be searched: ids and reasons."""

    ids: pa.Array
    reasons: pa.Array


def chunks(
    side: VectorFiles,
    units: Sequence[Unit],
    *,
    dimension: int,
    rows: int,
    zero_is_wrong: bool,
    rejects: list[Rejects] | None = None,
) -> Iterator[Rows]:
    """The side's vectors in chunks of `rows` or fewer, in the order of the units.

    Args:
        side: what to read.
        units: which row groups of it.
        dimension: the size that vectors have.
        rows: of a chunk at most.
        zero_is_wrong: reject vectors of zero length, which have no cosine.
        rejects: takes what is rejected, where wanted.
    """
    only = None if side.only is None else _ids(side.storage, side.only, side.id_column)
    ids: list[pa.Array] = []
    held, weights, filled = np.empty((0, dimension), np.float32), np.empty(0), 0
    for unit in units:
        for batch in _batches(side, unit):
            good = _checked(_among(side, batch, only), side, dimension, zero_is_wrong, rejects)
            vectors = good.vectors if side.projection is None else side.projection(good.vectors)
            start = 0
            while start < len(good.ids):
                if filled == len(held):
                    if filled:
                        yield Rows(_joined(ids), held, weights)
                    # Filled in place, and handed on whole: joining batches afterwards would hold everything
                    # twice.
                    ids, held, weights, filled = (
                        [],
                        np.empty((rows, dimension), np.float32),
                        np.empty(rows),
                        0,
                    )
                stop = min(len(good.ids), start + len(held) - filled)
                held[filled : filled + stop - start] = vectors[start:stop]
                weights[filled : filled + stop - start] = good.weights[start:stop]
                ids.append(good.ids[start:stop])
                filled, start = filled + stop - start, stop
    if filled:
        yield Rows(_joined(ids), held[:filled], weights[:filled])


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made by another thread while this one is worked on."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, end)
        while (found := waiting.result()) is not end:
            waiting = pool.submit(next, items, end)
            yield cast(Item, found)


def _batches(side: VectorFiles, unit: Unit, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The rows of a row group that `where` lets through: the one way in which files are read."""
    for batch in _open(side.storage, unit.file).iter_batches(
        rows, row_groups=[unit.group], columns=side.columns, use_threads=False
    ):
        for name, value in side.where.items():
            batch = batch.filter(pc.equal(batch.column(batch.schema.names.index(name)), pa.scalar(value)))
        yield batch


def _among(side: VectorFiles, batch: pa.RecordBatch, only: pa.Array | None) -> pa.RecordBatch:
    if only is None:
        return batch
    return batch.filter(pc.is_in(batch.column(batch.schema.names.index(side.id_column)), value_set=only))


def _checked(
    batch: pa.RecordBatch,
    side: VectorFiles,
    dimension: int,
    zero_is_wrong: bool,
    rejects: list[Rejects] | None,
) -> Rows:
    """The usable rows of a batch; the others go to `rejects` with their reasons."""
    ids = batch.column(batch.schema.names.index(side.id_column))
    lists = batch.column(batch.schema.names.index(side.vector_column))
    sizes = pc.fill_null(pc.list_value_length(lists), -1).to_numpy()
    fits = sizes == dimension
    reasons = np.where(sizes < 0, NULL_VECTOR, "").astype(object)
    for size in np.unique(sizes[~fits & (sizes >= 0)]):
        reasons[sizes == size] = f"the vector has {size} entries, the others {dimension}"
    kept = lists if fits.all() else lists.filter(pa.array(fits))
    flat = kept.flatten()
    whole = np.ones(len(kept), dtype=bool)
    if flat.null_count:
        whole = pc.invert(flat.is_null()).to_numpy(zero_copy_only=False).reshape(-1, dimension).all(axis=1)
        flat = pc.fill_null(flat, 0.0)
    vectors = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, dimension)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    finite = lengths < _LARGEST  # False of a NaN too
    long_enough = lengths > 1.0 / _LARGEST if zero_is_wrong else np.ones(len(kept), dtype=bool)
    good = whole & finite & long_enough
    weights = _weights(side, batch)
    weighed = (weights[fits] >= 0.0) & (weights[fits] < np.inf)  # False of a NaN too
    good &= weighed
    reasons[fits] = np.select(
        [~whole, ~finite, ~long_enough, ~weighed], [NULL_VECTOR, NOT_FINITE, NO_LENGTH, NO_WEIGHT], ""
    )
    bad = reasons != ""
    if rejects is not None and bad.any():
        rejects.append(Rejects(ids.filter(pa.array(bad)), pa.array(reasons[bad].tolist(), pa.string())))
    return Rows(
        ids.filter(pa.array(~bad)) if bad.any() else ids,
        vectors if good.all() else vectors[good],
        weights[~bad],
    )


def _weights(side: VectorFiles, batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """The weight of each row, NaN where it is NULL."""
    if side.weight_column is None:
        return np.ones(batch.num_rows)
    column = batch.column(batch.schema.names.index(side.weight_column)).cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _ids(storage: Storage, files: Sequence[str], column: str) -> pa.Array:
    found = [_open(storage, file).read(columns=[column]).column(0).combine_chunks() for file in files]
    return _joined([part if isinstance(part, pa.Array) else part.chunk(0) for part in found])


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    return (
        pa.concat_arrays([part.cast(pa.string()) for part in parts]) if parts else pa.array([], pa.string())
    )


def _row_groups(storage: Storage, file: str) -> list[Unit]:
    metadata = _open(storage, file).metadata
    return [Unit(file, group, metadata.row_group(group).num_rows) for group in range(metadata.num_row_groups)]


def _open(storage: Storage, file: str) -> pq.ParquetFile:
    system, path = storage.opened(file)
    return pq.ParquetFile(system.open_input_file(path))
