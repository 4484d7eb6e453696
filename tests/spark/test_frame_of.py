"""Frames of the driver's rows: as Spark itself makes them of a list, without a Python worker."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from newslake.spark.frames import frame_of

DDL = (
    "s string, i int, n bigint, d double, f float, b boolean, day date, at timestamp, raw binary, tags"
    " array<string>, vector array<float>, facts map<string,string>, one struct<a:int,b:array<string>>, many"
    " array<struct<a:int,b:array<string>>>"
)
FULL = (
    "é",
    1,
    2**40,
    0.1,
    0.5,
    True,
    date(1969, 12, 31),
    datetime(2019, 11, 11, 13, 3, 52, 7, tzinfo=UTC),
    b"\0\xff",
    ["a", None],
    [1.0, -0.5],
    {"k": "v", "none": None},
    (1, ["x"]),
    [(1, ["x"]), (2, None)],
)


def test_rows_and_columns_are_those_of_spark(spark: SparkSession) -> None:
    rows = [FULL, (None,) * len(FULL), ("", *FULL[1:9], [], [], {}, (None, None), [])]
    wanted, made = spark.createDataFrame(rows, DDL), frame_of(spark, rows, DDL)
    assert made.schema == wanted.schema
    assert made.collect() == wanted.collect()
    assert frame_of(spark, [], DDL).collect() == []
    as_mapping = frame_of(spark, [({"b": ["x"], "a": 1},)], "one struct<a:int,b:array<string>>")
    assert (
        as_mapping.collect()
        == spark.createDataFrame([((1, ["x"]),)], "one struct<a:int,b:array<string>>").collect()
    )


def test_a_datetime_without_a_zone_is_utc(spark: SparkSession) -> None:
    naive, aware = datetime(2019, 11, 11, 13), datetime(2019, 11, 11, 13, tzinfo=UTC)
    assert len({row[0] for row in frame_of(spark, [(naive,), (aware,)], "at timestamp").collect()}) == 1


def test_what_is_not_of_the_schema_is_refused(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="no value for n, which must have one"):
        frame_of(spark, [("a", None)], "s string, n int NOT NULL")
    length: list[tuple[object, ...]] = [("a",), ("a", 1, 2)]
    for row in length:
        with pytest.raises(ValueError, match="zip"):
            frame_of(spark, [row], "s string, n int")
    fraction: list[tuple[object, ...]] = [("a", "1"), ("a", 1.5)]
    for row in fraction:
        with pytest.raises(ValueError, match="is no whole number"):
            frame_of(spark, [row], "s string, n int")
    kind: list[tuple[object, ...]] = [(1, 1), ("a", 2**31)]
    for row in kind:
        with pytest.raises(pa.ArrowException):
            frame_of(spark, [row], "s string, n int")
