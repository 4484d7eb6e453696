"""Vectors of a table in one file that every worker opens as a memory map: written by the executors, each row
group its own slice.

In object storage, where no file is written in slices, each row group is a file of its own, and an executor
puts the one file together of what it fetches.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from newslake.files.folders import written
from newslake.files.remote import Place, RemotePath, local, save_array
from newslake.search.vector_files import Unit, VectorFiles, chunks
from newslake.spark.connect import parallelism
from newslake.spark.frames import frame_of

_CHUNK_ROWS = 8192
_UNITS = "side string, file string, group int, rows int, start long"
_INDEX = "side string, id string, row int, weight double"


@dataclass(frozen=True)
class Parts:
    """A file of vectors in object storage: `folder` has a file (npy) for each row group, named by its first
    row; `shape` is of all."""

    folder: RemotePath
    shape: tuple[int, int]


Held = Path | Parts


@dataclass(frozen=True)
class VectorMap:
    """Vectors of unit length by row number.

    Attributes:
        file: float32 (rows, size) that driver and executors see; None where there is no vector.
        index: side, id, row (int), weight (double; 1 where the side has none): several rows an id are
            possible.
    """

    file: Held | None
    index: DataFrame

    def opened(self) -> npt.NDArray[np.float32]:
        """The vectors, read as they are needed."""
        return opened(self.file)


def opened(file: Held | None) -> npt.NDArray[np.float32]:
    """(rows, size) of the file; (0, 0) where there is none."""
    if file is None:
        return np.empty((0, 0), np.float32)
    found: npt.NDArray[np.float32] = np.load(file if isinstance(file, Path) else _joined(file), mmap_mode="r")
    return found


def vector_map(spark: SparkSession, sides: Mapping[str, VectorFiles], folder: Place) -> VectorMap:
    """Bring sides of a search into one file: vectors that could not be compared (of zero length, not finite)
    are left out.

    Args:
        spark: the session.
        sides: what to read, by name: vectors of one size.
        folder: a new one, that driver and executors see.
    """
    units = [(name, unit) for name, side in sides.items() for unit in side.units()]
    dimension = next(
        (size for side in sides.values() if (size := side.dimension(side.units())) is not None), None
    )
    if dimension is None:
        return VectorMap(None, frame_of(spark, [], _INDEX))
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.concatenate(([0], np.cumsum([unit.rows for _, unit in units])))
    shape = (int(starts[-1]), dimension)
    file = folder / "vectors.npy" if isinstance(folder, Path) else Parts(folder / "parts", shape)
    if isinstance(file, Path):
        # Rows that the side leaves out stay zero, and take no room on most file systems.
        np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape).flush()

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                unit = Unit(row["file"], row["group"], row["rows"])
                with _slice(file, row["start"], unit.rows, dimension) as held:
                    for rows in _written(held, sides[row["side"]], unit, row["start"], dimension):
                        names = pa.array([row["side"]] * rows.num_rows, pa.string())
                        yield pa.RecordBatch.from_arrays(
                            [names, *rows.columns], names=["side", *rows.schema.names]
                        )

    rows = [
        (name, unit.file, unit.group, unit.rows, int(start))
        for (name, unit), start in zip(units, starts, strict=False)
    ]
    tasks = frame_of(spark, rows, _UNITS).repartition(max(1, min(len(units), parallelism(spark))))
    return VectorMap(file, written(tasks.mapInArrow(write, _INDEX), folder / "index"))


@contextmanager
def _slice(file: Held, start: int, rows: int, dimension: int) -> Iterator[npt.NDArray[np.float32]]:
    """Where a row group's vectors go: (rows, dimension), kept when the block ends."""
    if isinstance(file, Path):
        whole = np.lib.format.open_memmap(file, mode="r+")
        yield whole[start : start + rows]
        whole.flush()
        return
    held = np.zeros((rows, dimension), np.float32)
    yield held
    save_array(file.folder / f"{start:012}.npy", held)


def _joined(parts: Parts) -> Path:
    """The one file on this machine's disk, made where it is not there."""
    folder = local(parts.folder)
    whole = folder.with_name("vectors.npy")
    if not whole.exists():
        making = folder.with_name(f"vectors-{uuid4().hex[:8]}.npy")  # two workers may make it at once
        held = np.lib.format.open_memmap(making, mode="w+", dtype=np.float32, shape=parts.shape)
        for file in sorted(folder.glob("*.npy")):
            part = np.load(file, mmap_mode="r")
            held[int(file.stem) : int(file.stem) + len(part)] = part
        held.flush()
        os.replace(making, whole)
    return whole


def _written(
    held: npt.NDArray[np.float32], side: VectorFiles, unit: Unit, start: int, dimension: int
) -> Iterator[pa.RecordBatch]:
    """Write a row group's vectors to its slice, which begins at row `start`; a task that is tried again
    writes the same there."""
    done = 0
    for rows in chunks(side, [unit], dimension=dimension, rows=_CHUNK_ROWS, zero_is_wrong=True):
        lengths = np.sqrt(np.einsum("nd,nd->n", rows.vectors, rows.vectors, dtype=np.float64))
        held[done : done + len(rows.ids)] = (rows.vectors / lengths[:, None]).astype(np.float32)
        places = np.arange(start + done, start + done + len(rows.ids), dtype=np.int32)
        yield pa.RecordBatch.from_arrays(
            [rows.ids.cast(pa.string()), pa.array(places), pa.array(rows.weights)], ["id", "row", "weight"]
        )
        done += len(rows.ids)
