"""Small files on their way from Spark to the workers of a search: written, read past the JVM, and removed.

What a search lists on the driver are files of a fair size, so that its lists do not grow with the number of
small files: a table in many of those is copied into few first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from pyspark.sql import DataFrame

from newslake.files.paths import exactly, uri
from newslake.files.systems import file_system
from newslake.files.work import beside
from newslake.lake.lakehouse import Lakehouse
from newslake.spark.connect import is_connect, parallelism

MOST_FILES = 1_000
"""As many files are listed however small they are."""
FAIR_BYTES = 16 * 2**20
"""More are listed where they have this size on average."""
_COPY_BYTES = 128 * 2**20
_FEW = 64


class Scratch:
    """A folder that driver and executors see at the same URI."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._copies: list[tuple[DataFrame, list[str], tuple[str, ...]]] = []

    def write(self, rows: DataFrame, name: str, *, files: int | None = None) -> tuple[str, ...]:
        """Write the rows; returns their files.

        Args:
            rows: what to write.
            name: of a new folder below this one.
            files: how many at most (default: a few for each core).
        """
        path = f"{self.folder}/{name}"
        most = files or max(_FEW, 2 * parallelism(rows.sparkSession))
        rows.coalesce(most).write.parquet(path)
        return tuple(sorted(rows.sparkSession.read.schema(rows.schema).parquet(exactly(path)).inputFiles()))

    def listed(self, rows: DataFrame, columns: Sequence[str]) -> tuple[str, ...]:
        """URIs of the files behind a frame that filters a Delta table by its partitions alone; of a copy of
        these columns where they are many and small.

        Such files would be opened one by one, by every task that reads them. Two sides of one search are
        often of the same rows, which are copied once.
        """
        for other, those, copied in self._copies:
            if those == list(columns) and other.sameSemantics(rows):
                return copied
        count, size = _files(rows)
        if count <= MOST_FILES or size >= count * FAIR_BYTES:
            return table_files(rows)
        cores = parallelism(rows.sparkSession)
        name = f"few-{uuid4().hex[:8]}"
        copied = self.write(rows.select(*columns), name, files=max(2 * cores, -(-size // _COPY_BYTES)))
        self._copies.append((rows, list(columns), copied))
        return copied


def table_files(rows: DataFrame) -> tuple[str, ...]:
    """URIs of the files behind a frame that filters a Delta table by its partitions alone.

    Delta names them as Hadoop paths, where a % stands for itself; in a URI it has to be escaped.
    """
    return tuple(sorted(map(uri, rows.inputFiles())))


def _files(rows: DataFrame) -> tuple[int, int]:
    """How many files are behind the frame, and their bytes: what the JVM knows for its own plan, of which no
    name comes here. A session of Spark Connect tells no bytes: its files count as fair."""
    if is_connect(rows.sparkSession):
        count = len(rows.inputFiles())
        return count, count * FAIR_BYTES
    plan: Any = rows
    size = plan._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()
    return len(plan._jdf.inputFiles()), int(str(size))


@contextmanager
def scratch(lake: Lakehouse, folder: str | None) -> Iterator[Scratch]:
    """A new folder below `folder`, or below _scratch in the work folder; removed at the end. A killed run
    leaves its own behind.

    Raises:
        UserError: nothing says where.
    """
    place = f"{beside(lake, '_scratch', '--scratch-folder', folder).rstrip('/')}/{uuid4().hex}"
    try:
        yield Scratch(place)
    finally:
        file_system(lake.spark, place).delete(place)
