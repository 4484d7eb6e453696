"""What an export sends at a time: whole days, as long as they are few items."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.serving.stores.slices import items_of, slices_of
from newslake.spark.frames import frame_of


def test_days_that_are_few_items_go_together_and_a_large_one_in_parts(spark: SparkSession) -> None:
    sizes = {20191110: 3, 20191111: 4, 20191112: 25, 20191113: 1, 20191115: 9, 20191116: 2}
    rows = [(f"N{day}-{n}", day) for day, size in sizes.items() for n in range(size)]
    stale = frame_of(spark, rows, "item_id string, news_date int")
    found = slices_of(stale, len(rows), "news_date", 10)
    numbered = [stale.where(part.mine).withColumn("slice", F.lit(n)) for n, part in enumerate(found)]
    every = [row for part in numbered for row in part.collect()]
    assert sorted(row.item_id for row in every) == sorted(item for item, _ in rows), "each once"
    days = [sorted({row.news_date for row in every if row.slice == n}) for n in range(len(found))]
    assert days == [
        [20191110, 20191111],
        [20191112],
        [20191112],
        [20191112],
        [20191113, 20191115],
        [20191116],
    ]
    assert [part.rows for part in found] == [7, 9, 9, 9, 10, 2]


def test_without_days_the_hash_of_an_id_says_which(spark: SparkSession) -> None:
    stale = frame_of(spark, [(f"U{n}",) for n in range(25)], "item_id string")
    found = slices_of(stale, 25, None, 10)
    assert len(found) == 3
    assert sum(stale.where(part.mine).count() for part in found) == 25
    assert len(slices_of(stale, 25, None, 25)) == 1
    assert slices_of(stale, 0, None, 25) == []


def test_items_without_days_are_read_once_however_many_slices_there_are(
    spark: SparkSession, tmp_path: Path
) -> None:
    read = spark.sparkContext.accumulator(0)

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            read.add(batch.num_rows)
            yield batch

    lake = Lakehouse(spark, str(tmp_path))
    rows = frame_of(spark, [(f"U{n}", float(n)) for n in range(25)], "item_id string, weight double")
    items = rows.mapInArrow(counted, rows.schema)
    slices = slices_of(rows, 25, None, 2)
    with items_of(lake, items, slices, None) as parts:
        found = [[row["item_id"] for row in part.collect()] for part in parts]
        assert len(found) == len(slices) == 13
        assert sorted(item for part in found for item in part) == sorted(f"U{n}" for n in range(25))
        assert parts[0].schema == rows.schema
    assert read.value == 25
    assert list((tmp_path / "_scratch").iterdir()) == []
