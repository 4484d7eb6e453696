"""Files made by Spark's tasks under names of our own: a folder that is there as a whole, or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from pyspark.sql import DataFrame, SparkSession

from newslake.files.systems import FileSystem, file_system
from newslake.serving.feeds.vespa import LINE


class Folder:
    """A folder in the making, on any file system that Spark knows."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        self._spark = spark
        self.path = path

    def write_lines(
        self,
        rows: DataFrame,
        name: str,
        *,
        files: int = 1,
        form: Callable[[DataFrame], DataFrame] | None = None,
    ) -> None:
        """Write a line a row: to `name`, or to several files with their number before the suffix.

        Args:
            rows: id, value: sorted by id within a file; a hash of the id says in which.
            name: such as users.jsonl.
            files: how many.
            form: what is made of each file's lines, such as vespa.as_array.
        """
        spread = rows.repartition(files, "id") if files > 1 else rows.coalesce(1)
        lines = spread.sortWithinPartitions("id").select(LINE)
        parts = f"{self.path}/_{name}"
        (form(lines) if form else lines).write.text(parts)
        stem, suffix = name.rsplit(".", 1)
        names = [part for part in self._system.names(parts) if part.startswith("part-")]
        for number, part in enumerate(names):
            to = name if files == 1 else f"{stem}-{number:05}.{suffix}"
            self._system.rename(f"{parts}/{part}", f"{self.path}/{to}")
        self._system.delete(parts)

    def write_tree(self, name: str, make: Callable[[Path], None]) -> None:
        """Copy in a folder that `make` fills on this machine."""
        with TemporaryDirectory() as scratch:
            made = Path(scratch) / name
            made.mkdir()
            make(made)
            for file in sorted(path for path in made.rglob("*") if path.is_file()):
                self._system.write(f"{self.path}/{name}/{file.relative_to(made)}", file.read_bytes())

    def take_the_place_of(self, path: str) -> None:
        """Become the folder at `path`: one rename, after what was there is gone."""
        self._system.delete(path)
        self._system.rename(self.path, path)

    def remove(self) -> None:
        """Leave nothing behind."""
        self._system.delete(self.path)

    @cached_property
    def _system(self) -> FileSystem:
        return file_system(self._spark, self.path)


@contextmanager
def new_folder(spark: SparkSession, path: str) -> Iterator[Folder]:
    """A folder that appears at `path` when the block ends well, in place of what is there; a killed run
    leaves `path` as it was."""
    parent, name = path.rstrip("/").rsplit("/", 1)
    folder = Folder(spark, f"{parent}/_making_{name}_{uuid4().hex}")
    try:
        yield folder
        folder.take_the_place_of(path)
    finally:
        folder.remove()
