"""Vectors of a table in one file that every worker opens as a memory map: written by the executors, each row group its own slice."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from newslake.frames import frame_of
from newslake.search.vector_files import Unit, VectorFiles, chunks
from newslake.training.folders import written

_CHUNK_ROWS = 8192
_UNITS = "side string, file string, group int, rows int, start long"
_INDEX = "side string, id string, row int, weight double"


@dataclass(frozen=True)
class VectorMap:
    """Vectors of unit length by row number.

    Attributes:
        file: npy file of float32 (rows, size) that driver and executors see; None where there is no vector.
        index: side, id, row (int), weight (double; 1 where the side has none): several rows an id are possible.
    """

    file: Path | None
    index: DataFrame

    def opened(self) -> npt.NDArray[np.float32]:
        """The vectors, read as they are needed."""
        return opened(self.file)


def opened(file: Path | None) -> npt.NDArray[np.float32]:
    """(rows, size) of the file; (0, 0) where there is none."""
    return np.empty((0, 0), np.float32) if file is None else np.load(file, mmap_mode="r")


def vector_map(spark: SparkSession, sides: Mapping[str, VectorFiles], folder: Path) -> VectorMap:
    """Bring sides of a search into one file: vectors that could not be compared (of zero length, not finite) are left out.

    Args:
        spark: the session.
        sides: what to read, by name: vectors of one size.
        folder: a new one, that driver and executors see.
    """
    units = [(name, unit) for name, side in sides.items() for unit in side.units()]
    dimension = next((size for side in sides.values() if (size := side.dimension(side.units())) is not None), None)
    if dimension is None:
        return VectorMap(None, frame_of(spark, [], _INDEX))
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.concatenate(([0], np.cumsum([unit.rows for _, unit in units])))
    file = folder / "vectors.npy"
    # Rows that the side leaves out stay zero, and take no room on most file systems.
    np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(int(starts[-1]), dimension)).flush()

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = np.lib.format.open_memmap(file, mode="r+")
        for batch in batches:
            for row in batch.to_pylist():
                unit = Unit(row["file"], row["group"], row["rows"])
                for rows in _written(held, sides[row["side"]], unit, row["start"], dimension):
                    names = pa.array([row["side"]] * rows.num_rows, pa.string())
                    yield pa.RecordBatch.from_arrays([names, *rows.columns], names=["side", *rows.schema.names])
        held.flush()

    rows = [(name, unit.file, unit.group, unit.rows, int(start)) for (name, unit), start in zip(units, starts, strict=False)]
    tasks = frame_of(spark, rows, _UNITS).repartition(max(1, min(len(units), spark.sparkContext.defaultParallelism)))
    return VectorMap(file, written(tasks.mapInArrow(write, _INDEX), folder / "index"))


def _written(held: npt.NDArray[np.float32], side: VectorFiles, unit: Unit, start: int, dimension: int) -> Iterator[pa.RecordBatch]:
    """Write a row group's vectors to its slice; a task that is tried again writes the same there."""
    for rows in chunks(side, [unit], dimension=dimension, rows=_CHUNK_ROWS, zero_is_wrong=True):
        lengths = np.sqrt(np.einsum("nd,nd->n", rows.vectors, rows.vectors, dtype=np.float64))
        held[start : start + len(rows.ids)] = (rows.vectors / lengths[:, None]).astype(np.float32)
        places = np.arange(start, start + len(rows.ids), dtype=np.int32)
        yield pa.RecordBatch.from_arrays([rows.ids.cast(pa.string()), pa.array(places), pa.array(rows.weights)], ["id", "row", "weight"])
        start += len(rows.ids)
