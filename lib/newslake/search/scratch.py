"""Small files on their way from Spark to the workers of a search: written, read past the JVM, and removed."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from pyspark.sql import DataFrame

from newslake.files.paths import exactly
from newslake.files.systems import file_system
from newslake.files.work import beside
from newslake.lake.lakehouse import Lakehouse


class Scratch:
    """A folder that driver and executors see at the same URI."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def write(self, rows: DataFrame, name: str) -> tuple[str, ...]:
        """Write the rows; returns their files."""
        path = f"{self.folder}/{name}"
        rows.write.parquet(path)
        return tuple(sorted(rows.sparkSession.read.schema(rows.schema).parquet(exactly(path)).inputFiles()))


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
