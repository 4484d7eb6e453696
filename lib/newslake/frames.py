"""Intermediate frames that are read more than once."""

from types import TracebackType
from typing import Self

from pyspark import StorageLevel
from pyspark.sql import DataFrame


class Frames:
    """Keeps intermediate frames for several uses, and lets them go at the end of the `with` block, whatever ends it."""

    def __init__(self) -> None:
        self._kept: list[DataFrame] = []

    def keep(self, rows: DataFrame) -> DataFrame:
        """Persist the rows, in memory and what does not fit on disk."""
        kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
        self._kept.append(kept)
        return kept

    def cut(self, rows: DataFrame) -> DataFrame:
        """Compute the rows now and forget where they came from: for a narrow result that many further steps build on.

        A kept frame carries the plans of those that it is made from, several times over once they nest, so that Spark's
        own description of the plan doubles with each step. Partitions by a key are forgotten too.
        """
        return rows.localCheckpoint(eager=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for rows in self._kept:
            rows.unpersist()
