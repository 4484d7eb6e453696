"""Files whose names and bytes depend on nothing but the settings: a Spark task makes a file from its range of
rows.

Text is written by Spark, one partition a file, and renamed; paths are those of Hadoop's file systems: a
folder of this machine or any URI that Spark writes to. Parquet is written by the workers through pyarrow, for
Spark's writer lists a column's encodings in an order that changes from one JVM to the next.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.sample.folder import Folder

MakeRows = Callable[[int, int], pa.RecordBatch]
_PARTS = "_parts"


@dataclass(frozen=True)
class Files:
    """One data set: `<name>.<extension>`, or `<name>-00000.<extension>` and so on where it takes several
    files.

    Attributes:
        name: path below the output folder, without the extension.
        extension: lines of a tsv are the rows' one column, value.
        schema: of the rows, as DDL; parquet takes that of the rows.
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
        """How many files there are; one at least, if need be an empty one."""
        return max(1, -(-self.rows // self.rows_per_file))

    def names(self) -> list[str]:
        """The files, relative to the output folder."""
        if self.number == 1:
            return [f"{self.name}.{self.extension}"]
        return [f"{self.name}-{part:05d}.{self.extension}" for part in range(self.number)]

    def blocks(self, file: int) -> Iterable[pa.RecordBatch]:
        """The rows of one file."""
        first, end = file * self.rows_per_file, min((file + 1) * self.rows_per_file, self.rows)
        for start in range(first, max(end, first + 1), self.block):
            yield self.make(start, min(start + self.block, end))


def write(spark: SparkSession, out: str, files: Files) -> None:
    """Write a data set below the folder `out`; what stood at its names is replaced.

    Raises:
        JobFailed: another number of files was written than there should be.
        UserError: parquet, and the folder is on a file system that pyarrow does not know.
    """
    if files.extension == "parquet":
        _write_parquet(spark, out, files)
    else:
        _write_text(spark, out, files)


def _tasks(
    spark: SparkSession, files: Files, run: Callable[[int], Iterable[pa.RecordBatch]], schema: str
) -> DataFrame:
    """What `run` gives for each file, one partition a file."""

    def run_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for file in batch.column(0).to_pylist():
                yield from run(file)

    return spark.range(0, files.number, 1, files.number).mapInArrow(run_all, schema)


def _write_text(spark: SparkSession, out: str, files: Files) -> None:
    parts, target = f"{out}/{_PARTS}", Folder(spark, out)
    rows = _tasks(spark, files, files.blocks, files.schema)
    lines = rows if files.extension == "tsv" else rows.select(F.to_json(F.struct("*")).alias("value"))
    # One file a partition, and no codec, whatever the session's settings say.
    options = {"maxRecordsPerFile": "0", "compression": "none", "lineSep": "\n"}
    lines.write.mode("overwrite").options(**options).text(parts)
    written = {
        int(name.split("-")[1]): name for name in Folder(spark, parts).names() if name.startswith("part-")
    }
    if not written.keys() <= set(range(files.number)):
        raise JobFailed(f"{files.name}: Spark wrote the parts {sorted(written)}, expected {files.number}")
    for number, name in enumerate(files.names()):
        if number in written:
            target.move(f"{_PARTS}/{written[number]}", name)
        else:
            # Spark writes no file for a partition without rows; an empty file says that it was not forgotten.
            target.write_text(name, "")
    target.delete(_PARTS)


def _write_parquet(spark: SparkSession, out: str, files: Files) -> None:
    target = Folder(spark, out)
    uri, names = target.uri, files.names()
    _file_system(uri)

    def write_file(number: int) -> Iterable[pa.RecordBatch]:
        system, folder = _file_system(uri)
        path = f"{folder}/{names[number]}"
        # Renamed when complete: a task that Spark tries twice leaves one whole file.
        unfinished = f"{path.rpartition('/')[0]}/_{uuid4().hex}"
        system.create_dir(path.rpartition("/")[0], recursive=True)
        blocks = iter(files.blocks(number))
        first = next(blocks)
        with pq.ParquetWriter(unfinished, first.schema, filesystem=system, compression="snappy") as writer:
            writer.write_batch(first)
            for block in blocks:
                writer.write_batch(block)
        system.move(unfinished, path)
        yield pa.RecordBatch.from_pydict({"files": pa.array([1], pa.int64())})

    total = (
        _tasks(spark, files, write_file, "files long")
        .agg(F.sum("files").alias("files"))
        .collect()[0]["files"]
    )
    if total != files.number:
        raise JobFailed(f"{files.name}: {total} files were written, expected {files.number}")


def _file_system(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """The file system of a URI, and the path on it.

    Raises:
        UserError: pyarrow does not know it.
    """
    if uri.startswith("file:"):
        return pa.fs.LocalFileSystem(), "/" + uri.removeprefix("file:").lstrip("/")
    try:
        system, path = pa.fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UserError(
            f"--out {uri}: the truth cannot be written there ({error}); use --no-truth or a folder"
        ) from None
    return system, path
