"""Folders of Parquet that are there completely or not at all."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.files.paths import exactly
from newslake.files.remote import Place, RemotePath, filled, hadoop_name, local, remove

_ABANDONED_AFTER_SECONDS = 24 * 3600
_BUILT_IN = "built_in"


def parquet_files(folder: Place) -> list[str]:
    """The folder's Parquet files on this machine's own disk, by name, which Spark numbers by partition."""
    return sorted(str(file) for file in local(folder).glob("*.parquet"))


def row_count(files: list[str]) -> int:
    """Rows that the files' footers tell of."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def written(rows: DataFrame, folder: Place) -> DataFrame:
    """Write the rows, and read them from there from now on: what follows does not compute them again."""
    write(rows, folder)
    return read(rows.sparkSession, folder, rows.schema)


def write(rows: DataFrame, folder: Place, **options: str) -> None:
    """Write the rows as Parquet into a new folder."""
    rows.write.options(**options).parquet(hadoop_name(folder))


def read(spark: SparkSession, path: Place, schema: T.StructType | None = None) -> DataFrame:
    """The rows of a folder or file of Parquet, whatever its name holds."""
    reader = spark.read if schema is None else spark.read.schema(schema)
    return reader.parquet(exactly(hadoop_name(path)))


def built_once(final: Place, build: Callable[[Place], dict[str, int]]) -> tuple[Place, Mapping[str, int]]:
    """A folder and its manifest, after building the folder where it is not there.

    Two runs may build it at once: one's is kept, which is the other's too, since its name says what it was
    made from.

    Args:
        final: the folder. In object storage, which renames nothing, what is built lies in a folder below it
            that its manifest names.
        build: fills the folder it is given, and returns the sizes for the manifest.

    Raises:
        UserError: the folder cannot be made.
        JobFailed: an incomplete folder stands in the way.
    """
    manifest = final / "manifest.json"
    if not manifest.exists():
        if isinstance(final, Path):
            _build_beside(final, build)
        else:
            _build_below(final, build)
    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    return (final / found.pop(_BUILT_IN) if _BUILT_IN in found else final), found


def _build_beside(final: Path, build: Callable[[Place], dict[str, int]]) -> None:
    _remove_abandoned(final)
    temporary = final.with_name(f"{final.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        _make(temporary)
        sizes = build(temporary)
        (temporary / "manifest.json").write_text(json.dumps(sizes, indent=1), encoding="utf-8")
        _rename(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build_below(final: RemotePath, build: Callable[[Place], dict[str, int]]) -> None:
    name = uuid.uuid4().hex[:8]
    try:
        sizes = build(final / name)
    except BaseException:
        remove(final / name)
        raise
    (final / "manifest.json").write_text(json.dumps({_BUILT_IN: name, **sizes}, indent=1))


@contextmanager
def kept(final: Place, last: str) -> Iterator[Path]:
    """A local folder to fill with a trained model, which is at `final` when the block ends well; `last`, its
    file that says so.

    Raises:
        UserError: the folder cannot be made.
    """
    making = filled(final, last)
    try:
        folder = making.__enter__()
    except OSError as error:
        raise UserError(
            f"cannot keep models in {final.parent}: {error.strerror}; give another folder with --model-folder"
        ) from None
    with ExitStack() as stack:
        stack.push(making)
        yield folder


def _rename(temporary: Path, final: Path) -> None:
    try:
        os.rename(temporary, final)
    except OSError:
        if not (final / "manifest.json").exists():
            raise JobFailed(f"{final} is there but not complete; remove it and run again") from None


def _remove_abandoned(final: Path) -> None:
    """Remove what killed runs left of the same folder; younger ones may belong to a run that is alive."""
    for old in final.parent.glob(f"{final.name}.tmp-*"):
        if time.time() - old.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"cannot stage in {folder.parent}: {error.strerror}; give another folder with --staging"
        ) from None
