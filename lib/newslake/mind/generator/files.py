"""Files whose names and bytes depend on nothing but the settings: one Spark partition a file, renamed when written.

Paths are those of Hadoop's file systems: a folder of this machine or any URI that Spark writes to.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed

MakeRows = Callable[[int, int], pa.RecordBatch]
_PARTS = "_parts"


@dataclass(frozen=True)
class Files:
    """One data set: `<name>.<extension>`, or `<name>-00000.<extension>` and so on where it takes several files.

    Attributes:
        name: path below the output folder, without the extension.
        extension: tsv (rows have one column, value: the lines), jsonl or parquet.
        schema: of the rows, as DDL.
        rows: how many rows there are to make.
        rows_per_file: how many of them go into one file.
        block: how many are made at once.
        make: the rows start .. stop - 1; it may give fewer. Runs on the workers.
    """

    name: str
    extension: Literal["tsv", "jsonl", "parquet"]
    schema: str
    rows: int
    rows_per_file: int
    block: int
    make: MakeRows

    @property
    def number(self) -> int:
        return max(1, -(-self.rows // self.rows_per_file))

    def names(self) -> list[str]:
        """The files, relative to the output folder."""
        if self.number == 1:
            return [f"{self.name}.{self.extension}"]
        return [f"{self.name}-{part:05d}.{self.extension}" for part in range(self.number)]


def frame(spark: SparkSession, files: Files) -> DataFrame:
    """The rows of a data set, one partition a file."""
    rows, per_file, block, make = files.rows, files.rows_per_file, files.block, files.make

    def write_files(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                end = min((number + 1) * per_file, rows)
                for start in range(number * per_file, end, block):
                    yield make(start, min(start + block, end))

    return spark.range(0, files.number, 1, files.number).mapInArrow(write_files, files.schema)


def write(spark: SparkSession, out: str, files: Files) -> None:
    """Write a data set; what stood at its names is replaced.

    Raises:
        JobFailed: Spark wrote another number of files than there should be.
    """
    rows = frame(spark, files)
    parts = f"{out}/{_PARTS}"
    if files.extension == "parquet":
        # Uncompressed sizes are small, and the bytes then do not hang on a codec's version.
        rows.write.mode("overwrite").option("compression", "none").parquet(parts)
    else:
        lines = rows if files.extension == "tsv" else rows.select(F.to_json(F.struct("*")).alias("value"))
        lines.write.mode("overwrite").option("lineSep", "\n").text(parts)
    folder = Folder(spark, parts)
    written = {int(name.split("-")[1]): name for name in folder.names() if name.startswith("part-")}
    wanted = files.names()
    if not written.keys() <= set(range(len(wanted))):
        raise JobFailed(f"{files.name}: Spark wrote the parts {sorted(written)}, expected {len(wanted)}")
    target = Folder(spark, out)
    for number, name in enumerate(wanted):
        if number in written:
            target.move(f"{_PARTS}/{written[number]}", name)
        else:
            # Spark writes no file for a partition without rows; an empty file says that it was not forgotten.
            target.write_text(name, "")
    target.delete(_PARTS)


class Folder:
    """A folder on one of Hadoop's file systems, seen from the driver."""

    def __init__(self, spark: SparkSession, path: str) -> None:
        jvm: Any = spark._jvm
        self._jvm, self.path = jvm, path.rstrip("/")
        hadoop = jvm.org.apache.hadoop.fs
        self._fs = hadoop.Path(self.path).getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
        local = self._jvm.java.lang.Class.forName("org.apache.hadoop.fs.LocalFileSystem")
        self._checksums = local.isInstance(self._fs)

    def _at(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self.path}/{name}" if name else self.path)

    def names(self) -> list[str]:
        """What lies in the folder (empty where there is no such folder)."""
        if not self._fs.exists(self._at("")):
            return []
        return sorted(status.getPath().getName() for status in self._fs.listStatus(self._at("")))

    def is_folder(self) -> bool:
        """False where there is nothing, or a file."""
        return bool(self._fs.exists(self._at("")) and self._fs.getFileStatus(self._at("")).isDirectory())

    def exists(self, name: str = "") -> bool:
        return bool(self._fs.exists(self._at(name)))

    def delete(self, name: str) -> None:
        self._fs.delete(self._at(name), True)

    def move(self, name: str, target: str) -> None:
        """Rename within the folder, over what is there.

        Raises:
            JobFailed: the file system refused.
        """
        self._fs.mkdirs(self._at(target).getParent())
        self.delete(target)
        if not self._fs.rename(self._at(name), self._at(target)):
            raise JobFailed(f"cannot rename {self.path}/{name} to {target}")
        self._forget_checksum(target)

    def _forget_checksum(self, name: str) -> None:
        """Hadoop keeps `.name.crc` beside each local file; whoever edits the file would then find it unreadable."""
        if self._checksums:
            folder, _, base = name.rpartition("/")
            self._fs.getRawFileSystem().delete(self._at(f"{folder}/.{base}.crc" if folder else f".{base}.crc"), False)

    def read_text(self, name: str) -> str:
        stream = self._fs.open(self._at(name))
        try:
            return bytes(self._jvm.org.apache.commons.io.IOUtils.toByteArray(stream)).decode("utf-8")
        finally:
            stream.close()

    def write_text(self, name: str, text: str) -> None:
        """Write a small file, making its folder."""
        self._fs.mkdirs(self._at(name).getParent())
        stream = self._fs.create(self._at(name), True)
        try:
            stream.write(bytearray(text.encode("utf-8")))
        finally:
            stream.close()
        self._forget_checksum(name)
