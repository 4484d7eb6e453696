"""Folders of Parquet that are there completely or not at all."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from newslake.errors import JobFailed, UserError
from newslake.paths import exactly, hadoop

_ABANDONED_AFTER_SECONDS = 24 * 3600


def parquet_files(folder: Path) -> list[str]:
    """The folder's Parquet files by name, which Spark numbers by partition."""
    return sorted(str(file) for file in folder.glob("*.parquet"))


def row_count(files: list[str]) -> int:
    """Rows that the files' footers tell of."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def written(rows: DataFrame, folder: Path) -> DataFrame:
    """Write the rows, and read them from there from now on: what follows does not compute them again."""
    write(rows, folder)
    return read(rows.sparkSession, folder, rows.schema)


def write(rows: DataFrame, folder: Path, **options: str) -> None:
    """Write the rows as Parquet into a new folder."""
    rows.write.options(**options).parquet(hadoop(folder))


def read(spark: SparkSession, path: Path, schema: T.StructType | None = None) -> DataFrame:
    """The rows of a folder or file of Parquet, whatever its name holds."""
    reader = spark.read if schema is None else spark.read.schema(schema)
    return reader.parquet(exactly(hadoop(path)))


def built_once(final: Path, build: Callable[[Path], dict[str, int]]) -> Mapping[str, int]:
    """The manifest of a folder, after building the folder where it is not there.

    Two runs may build it at once: one's is kept, which is the other's too, since its name says what it was made from.

    Args:
        final: the folder.
        build: fills the folder it is given, and returns the sizes for the manifest.

    Raises:
        UserError: the folder cannot be made.
        JobFailed: an incomplete folder stands in the way.
    """
    manifest = final / "manifest.json"
    if not manifest.exists():
        _remove_abandoned(final)
        temporary = final.with_name(f"{final.name}.tmp-{uuid.uuid4().hex[:8]}")
        try:
            _make(temporary)
            sizes = build(temporary)
            (temporary / "manifest.json").write_text(json.dumps(sizes, indent=1), encoding="utf-8")
            _rename(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    return found


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
        raise UserError(f"cannot stage in {folder.parent}: {error.strerror}; give another folder with --staging") from None
