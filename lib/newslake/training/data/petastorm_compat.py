"""Petastorm 0.12.1 beside current pyarrow and numpy, neither of which is changed.

Petastorm is no longer maintained (its issue 805), and reads Parquet through classes that pyarrow has removed.
This module is imported instead of it. It gives Petastorm's own modules a stand-in for each name that is gone:

- `pyarrow.filesystem.LocalFileSystem` (gone in pyarrow 16): petastorm.utils imports it, for metadata that we
  do not write.
- `pyarrow.hdfs` (gone in pyarrow 16): petastorm.hdfs.namenode imports it. What is read is local.
- `pyarrow.parquet.ParquetDataset(validate_schema=...)` and its pieces, `ParquetDatasetPiece` (gone in pyarrow
  15): a list of files, their footers, and one row group read at a time.
- `numpy.unicode_` and `numpy.string_` (gone in numpy 2): petastorm.unischema maps column types to them.

tests/training/data/test_petastorm_compat.py fails when a Petastorm is installed that no longer needs one of
them.
"""

import os
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from newslake.errors import UserError


class LocalFiles:
    """The two calls that Petastorm makes of a file system."""

    @staticmethod
    def open(path: str, mode: str = "rb") -> pa.NativeFile:
        """The file, opened for reading."""
        return pa.OSFile(path, mode)

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(path)


class _Piece:
    """A file of a data set, or one of its row groups."""

    partition_keys: tuple[()] = ()

    def __init__(
        self, path: str, open_file_func: Any = None, row_group: int | None = None, partition_keys: Any = ()
    ) -> None:
        self.path, self.row_group = path, row_group

    @cached_property
    def _footer(self) -> Any:
        return pq.read_metadata(self.path)

    def get_metadata(self) -> Any:
        """The file's footer."""
        return self._footer

    def read(self, columns: Collection[str], partitions: Any = None) -> pa.Table:
        """The row group's columns."""
        with pq.ParquetFile(self.path, metadata=self._footer) as file:
            return file.read_row_group(self.row_group, columns=list(columns))


class _Dataset:
    """A list of files without partitions, and without metadata of Petastorm's own."""

    partitions = metadata = common_metadata = None

    def __init__(self, path_or_paths: list[str], filesystem: Any = None, **_: Any) -> None:
        self.paths, self.fs = path_or_paths, filesystem
        self.pieces = [_Piece(path) for path in path_or_paths]


class _Parquet:
    """What Petastorm's modules know as `pq`."""

    ParquetDataset, ParquetDatasetPiece, read_metadata = _Dataset, _Piece, staticmethod(pq.read_metadata)


class _Numpy:
    """What petastorm.unischema knows as `np`: numpy with two names that it had before."""

    unicode_, string_ = np.str_, np.bytes_

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class _Absent:
    """Stands for a class that is imported and never used."""


STAND_INS = {
    "pyarrow.filesystem": {"LocalFileSystem": _Absent},
    "petastorm.hdfs.namenode": {"HdfsNamenodeResolver": _Absent, "HdfsConnector": _Absent},
}


@contextmanager
def _standing_in() -> Iterator[None]:
    """Modules of stand-ins, while Petastorm is imported: what asks for pyarrow.filesystem afterwards finds it
    gone, as it is."""
    for name, symbols in STAND_INS.items():
        module = ModuleType(name)
        vars(module).update(symbols)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in STAND_INS:
            del sys.modules[name]


if find_spec("petastorm") is None:
    raise UserError(
        "training needs Petastorm: install newslake[training] (not on Databricks serverless, where a package"
        " that asks for Spark ends the session: train on a cluster)"
    )

with warnings.catch_warnings(), _standing_in():
    warnings.simplefilter("ignore")  # about ten deprecations of what it imports
    from petastorm import arrow_reader_worker, reader, unischema
    from petastorm.etl import dataset_metadata
    from petastorm.workers_pool import EmptyResultError
    from petastorm.workers_pool.dummy_pool import DummyPool

for _module in (arrow_reader_worker, reader, dataset_metadata):
    _module.pq = _Parquet
unischema.np = _Numpy()

ArrowReaderWorker, Reader = arrow_reader_worker.ArrowReaderWorker, reader.Reader

__all__ = ["STAND_INS", "ArrowReaderWorker", "DummyPool", "EmptyResultError", "LocalFiles", "Reader"]
