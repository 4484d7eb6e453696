"""Put into tables what tests start from: rows by the columns that matter, into a new table without looking
for what is there already, a third of what a merge takes."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.spark.frames import frame_of

TODAY = "2019-11-20"
"""The day and moment of a row that must have one and does not say which."""
_EMPTY: dict[type[T.DataType], Any] = {
    T.StringType: "",
    T.BooleanType: False,
    T.DateType: TODAY,
    T.TimestampType: TODAY,
    T.ArrayType: [],
    T.MapType: {},
    T.BinaryType: b"",
}


def frame(lake: Lakehouse, table: str, rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Rows of a table from the columns that matter: days and moments may be texts, and what is left out is
    NULL, or empty where it may not be.

    A partition that is left out is "x": Delta, as Hive, keeps an empty one as NULL.
    """
    contract, partitions = lake.schema(table), table_spec(table).partitions
    made = []
    for row in rows:
        assert set(row) <= set(contract.names), f"{table} has no column {set(row) - set(contract.names)}"
        made.append(tuple(_value(row, field, field.name in partitions) for field in contract))
    return frame_of(lake.spark, made, contract)


def put(lake: Lakehouse, table: str, rows: DataFrame | Sequence[Mapping[str, Any]]) -> None:
    """Merge rows into a table by its key; the table is made, as jobs make it, if it is not there.

    Args:
        lake: tables under a folder.
        table: its name.
        rows: the contract's columns, or what `frame` takes; no key twice.
    """
    found = rows if isinstance(rows, DataFrame) else frame(lake, table, rows)
    if lake.create(table):
        found.select(*lake.schema(table).names).write.format("delta").mode("append").save(
            f"{lake.root}/{table}"
        )
    else:
        lake.merge(table, found)


def _value(row: Mapping[str, Any], field: T.StructField, is_partition: bool) -> Any:
    kind = field.dataType
    if field.name in row:
        value = row[field.name]
    elif is_partition and isinstance(kind, T.StringType):
        value = "x"
    else:
        value = None if field.nullable else _EMPTY.get(type(kind), 0)
    if isinstance(value, str) and isinstance(kind, T.TimestampType):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(value, str) and isinstance(kind, T.DateType) else value
