"""Frames of rows that the driver has, and intermediate frames that are read more than once."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.spark.connect import is_connect
from newslake.spark.versions import arrow_schema


def frame_of(spark: SparkSession, rows: Iterable[Sequence[Any]], schema: T.StructType | str) -> DataFrame:
    """Rows that the driver has, as a frame that is part of the plan.

    What `createDataFrame` makes of a list is read by a Python worker each time that the frame is: some 0.2 s
    for a single row.

    Args:
        spark: the session.
        rows: a value for each column, structs as tuples or mappings; a datetime without a zone is UTC.
        schema: the columns, or their DDL.

    Raises:
        ValueError: a row is too short or long, a column that takes no NULL has one, or one of whole numbers
            another value.
        pyarrow.ArrowException: a value is not of its column's type.
    """
    contract = T.StructType.fromDDL(schema) if isinstance(schema, str) else schema
    assert isinstance(contract, T.StructType)
    table = pa.Table.from_pylist([_arrow(row, contract) for row in rows], schema=arrow_schema(contract))
    return spark.createDataFrame(table, schema=contract)


def _arrow(value: Any, kind: T.DataType) -> Any:
    """The value as pyarrow takes one of this type."""
    if value is None:
        return None
    if isinstance(kind, T.StructType):
        parts = [value.get(name) for name in kind.names] if isinstance(value, dict) else value
        made = {field.name: _arrow(part, field.dataType) for field, part in zip(kind, parts, strict=True)}
        if lacking := [field.name for field in kind if not field.nullable and made[field.name] is None]:
            raise ValueError(f"no value for {', '.join(lacking)}, which must have one")
        return made
    # Vectors are long.
    if isinstance(kind, T.ArrayType) and not isinstance(kind.elementType, T.FractionalType):
        return [_arrow(element, kind.elementType) for element in value]
    if isinstance(kind, T.IntegralType) and not isinstance(value, Integral):
        raise ValueError(f"{value!r} is no whole number")  # pyarrow would cut it to one
    if isinstance(kind, T.MapType):
        return list(value.items())
    return value


def once(rows: DataFrame, name: str, value: Column) -> DataFrame:
    """Add a column that is computed once per row.

    The optimizer copies the expression of an ordinary column into every filter and column that reads it, so
    that a line would be split, or its time parsed, as often as something looks at it. What a generator gives
    is never copied.
    """
    return rows.select("*", F.explode(F.array(value)).alias(name))


class Frames:
    """Keeps intermediate frames for several uses, and lets them go at the end of the `with` block, whatever
    ends it."""

    def __init__(self) -> None:
        self._kept: list[DataFrame] = []

    def keep(self, rows: DataFrame) -> DataFrame:
        """Persist the rows, in memory and what does not fit on disk.

        In a session of Spark Connect the plan is forgotten too: it would travel with each query, and protobuf
        refuses a deep one.
        """
        if is_connect(rows.sparkSession):
            return rows.localCheckpoint(eager=False)
        kept = rows.persist(StorageLevel.MEMORY_AND_DISK)
        self._kept.append(kept)
        return kept

    def checkpoint(self, rows: DataFrame) -> DataFrame:
        """Compute the rows now and forget where they came from: for a narrow result that many further steps
        build on.

        A kept frame carries the plans of those that it is made from, several times over once they nest, so
        that Spark's own description of the plan doubles with each step. Partitions by a key are forgotten
        too.

        Where the session has a folder for checkpoints (see checkpoints.py) the rows go there, since what only
        executors hold is lost with one of them.
        """
        spark = rows.sparkSession
        if is_connect(spark) or spark.sparkContext.getCheckpointDir() is None:
            return rows.localCheckpoint(eager=True)
        return rows.checkpoint(eager=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rows in self._kept:
            rows.unpersist()
