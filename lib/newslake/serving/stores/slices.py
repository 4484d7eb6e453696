"""What an export sends between two entries in vector_exports: days together, as long as they are few items,
so that each day's vectors are read once; where there are no days, parts that are laid out in files first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.files.paths import exactly
from newslake.lake.lakehouse import Lakehouse
from newslake.search.scratch import scratch
from newslake.serving.stores.store import ITEM

_DAYS = 100  # days that a query may name one by one
_PART = "slice"


@dataclass(frozen=True)
class Slice:
    """Some of the items that are to be sent: about `rows` of them, and the condition that they fulfil."""

    rows: int
    mine: Column


def slices_of(stale: DataFrame, count: int, day: str | None, slice_rows: int) -> list[Slice]:
    """All items, cut into slices of at most about so many.

    Args:
        stale: item_id, and the column `day`.
        count: its rows.
        day: what the vectors' table is partitioned by; None: a slice is found by the hash of its ids.
        slice_rows: items of a slice.
    """
    if day is None or count <= slice_rows:
        return _by_hash(count, slice_rows, F.lit(True))
    found: list[Slice] = []
    days: list[int] = []
    filled = 0
    for this, rows in stale.groupBy(day).count().orderBy(day).collect():  # a row for each day
        if days and (filled + rows > slice_rows or len(days) == _DAYS):
            found.append(Slice(filled, F.col(day).isin(days)))
            days, filled = [], 0
        if rows > slice_rows:
            found += _by_hash(rows, slice_rows, F.col(day) == this)
        else:
            days, filled = [*days, this], filled + rows
    return [*found, Slice(filled, F.col(day).isin(days))] if days else found


@contextmanager
def items_of(
    lake: Lakehouse, items: DataFrame, slices: Sequence[Slice], day: str | None
) -> Iterator[list[DataFrame]]:
    """The items of each slice.

    Slices without days lie scattered over the whole table, which each of them would read: with twice the
    items, twice as often. So they are written to files first, a folder for each, where there is a place for
    such.

    Args:
        lake: whose work folder has the place.
        items: of all slices.
        slices: of `slices_of`.
        day: as for `slices_of`.
    """
    if day is not None or len(slices) <= 1 or lake.work is None:
        yield [items.where(part.mine) for part in slices]
        return
    numbered = items.withColumn(_PART, _number(len(slices)))
    with scratch(lake, None) as place:
        path = f"{place.folder}/items"
        numbered.repartition(len(slices), _PART).write.partitionBy(_PART).parquet(path)
        written = lake.spark.read.schema(numbered.schema).parquet(exactly(path))
        yield [written.where(F.col(_PART) == number).drop(_PART) for number in range(len(slices))]


def of_their_days(vectors: DataFrame, stale: DataFrame, day: str | None) -> DataFrame:
    """Those of `vectors` whose day has a stale item, where days are few: others need not be read."""
    if day is None:
        return vectors
    days = [row[0] for row in stale.select(day).distinct().limit(_DAYS + 1).collect()]
    return vectors.where(F.col(day).isin(days)) if len(days) <= _DAYS else vectors


def _by_hash(count: int, slice_rows: int, among: Column) -> list[Slice]:
    """Items of one condition, in equal slices: each reads what all of them lie in."""
    parts = -(-count // slice_rows)
    if parts <= 1:
        return [Slice(count, among)] * parts
    return [Slice(-(-count // parts), among & (_number(parts) == part)) for part in range(parts)]


def _number(parts: int) -> Column:
    """Which of so many parts an item is in."""
    return F.pmod(F.xxhash64(ITEM), F.lit(parts))
