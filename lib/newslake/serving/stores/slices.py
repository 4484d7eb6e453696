"""What an export sends between two entries in vector_exports: days together, as long as they are few items,
so that each day's vectors are read once."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.serving.stores.store import ITEM

_DAYS = 100  # days that a query may name one by one


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
    number = F.pmod(F.xxhash64(ITEM), F.lit(parts))
    return [Slice(-(-count // parts), among & (number == part)) for part in range(parts)]
