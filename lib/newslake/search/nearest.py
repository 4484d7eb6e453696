"""Exact top-k in Spark: tasks over row groups of items and queries, which read their vectors' files
themselves.

Where the items are few beside the queries, every worker holds them all and the tasks share the queries: the
newsfeed. Else the tasks share the items, each keeps the k best of its share for one bounded group of queries
after the other, and Spark merges the shares: the vote. Memory is bounded by KnnSettings either way, whatever
the number of items and of queries.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.search.knn_settings import KnnSettings
from newslake.search.vector_files import Rejects, Rows, Unit, VectorFiles, chunks
from newslake.spark.connect import parallelism
from newslake.spark.frames import frame_of
from newslake.spark.python_workers import map_with_torch

if TYPE_CHECKING:  # torch is for the workers
    from newslake.search.knn import Items, TopK

SCHEMA = "query_id string, item_id string, score float, rank int, problem string"
_ARROW = pa.schema(
    [
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("problem", pa.string()),
    ]
)
_OUTPUT_ROWS = 100_000
# What a held item costs beside its vector: bfloat16 blocks, and the copy that sorting makes for a moment.
_HELD_BYTES = 10


@dataclass(frozen=True)
class Share:
    """What one task searches."""

    items: tuple[Unit, ...]
    queries: tuple[Unit, ...]
    reports_items: bool
    reports_queries: bool


@dataclass(frozen=True)
class Plan:
    """The tasks of one search. `merge`: several tasks have the same queries, so that Spark must merge what
    they find."""

    shares: tuple[Share, ...]
    hold_items: bool
    merge: bool


def nearest(
    spark: SparkSession,
    queries: VectorFiles,
    items: VectorFiles,
    *,
    k: int,
    settings: KnnSettings | None = None,
    tasks: int | None = None,
    held_mb: int = 1024,
    by_query_id: bool = False,
) -> DataFrame:
    """The k nearest items of every query, and what could not be searched.

    Args:
        spark: the session.
        queries, items: the two sides.
        k: results of each query.
        settings: how to search; `threads` is of a task (spark.task.cpus).
        tasks: how many (default: the cluster's cores).
        held_mb: items that take no more than this in a worker, and are fewer than the queries, are held by
            every worker.
        by_query_id: several queries may have one id (a user's vectors): each keeps its k nearest, an item
            that several of them find counts once, with its highest score, and rank is NULL. Where the queries
            have weights, a score is multiplied by the root of its query's weight first. The tasks then always
            share the queries; one id may be in two tasks, so that the caller still has to take the highest
            score of each (query_id, item_id).

    Returns:
        query_id, item_id, score, rank (from 1, ties by item_id) and problem. Where problem is not NULL, the
            row is a query (item_id is
        NULL) or an item (query_id is NULL) that was left out, and why. Evaluated each time that it is used:
            persist it.

    Raises:
        UserError: the sides' identities differ, or k is less than 1.
    """
    if dict(queries.identity) != dict(items.identity):
        raise UserError(
            f"vectors of {_identity(queries)} cannot be compared with vectors of {_identity(items)}: choose"
            " one for both"
        )
    if k < 1:
        raise UserError(f"k must be at least 1, not {k}")
    settings = settings or KnnSettings()
    item_units, query_units = items.units(), queries.units()
    dimension = items.dimension(item_units)
    if dimension is None or not query_units:
        return frame_of(spark, [], SCHEMA)
    wanted = tasks or parallelism(spark)
    plan = plan_tasks(
        item_units, query_units, dimension=dimension, tasks=wanted, held_mb=held_mb, queries_only=by_query_id
    )
    search = _Search(queries, items, plan, k, dimension, settings, by_query_id, uuid4().hex)
    count = len(plan.shares)
    found = map_with_torch(spark.range(0, count, 1, count), partial(_run, search), SCHEMA)
    return _merged(found, k) if plan.merge else found


def plan_tasks(
    items: Sequence[Unit],
    queries: Sequence[Unit],
    *,
    dimension: int,
    tasks: int,
    held_mb: int,
    queries_only: bool = False,
) -> Plan:
    """Which task searches what: shares of queries with all items, or shares of items with all queries."""
    item_rows, query_rows = _rows(items), _rows(queries)
    fit = item_rows * (4 * dimension + _HELD_BYTES + 2 * dimension) <= held_mb * 2**20
    if queries_only or (fit and item_rows <= query_rows):
        shares = tuple(
            Share(tuple(items), part, number == 0, True)
            for number, part in enumerate(split_units(queries, tasks))
        )
        return Plan(shares, fit, False)
    of_items = split_units(items, tasks)
    # Too few row groups of items for all tasks: the queries are shared too.
    of_queries = split_units(queries, -(-tasks // len(of_items)))
    shares = tuple(
        Share(item_part, query_part, at_query == 0, at_item == 0)
        for at_item, item_part in enumerate(of_items)
        for at_query, query_part in enumerate(of_queries)
    )
    return Plan(shares, False, len(of_items) > 1)


def split_units(units: Sequence[Unit], parts: int) -> list[tuple[Unit, ...]]:
    """At most `parts` shares of about as many rows each: the largest unit first, to the smallest share."""
    shares: list[list[Unit]] = [[] for _ in range(max(1, min(parts, len(units))))]
    sizes = [0] * len(shares)
    for unit in sorted(units, key=lambda unit: (-unit.rows, unit.file, unit.group)):
        at = sizes.index(min(sizes))
        shares[at].append(unit)
        sizes[at] += unit.rows
    return [tuple(share) for share in shares]


def _rows(units: Sequence[Unit]) -> int:
    return sum(unit.rows for unit in units)


def _merged(found: DataFrame, k: int) -> DataFrame:
    """The k best of what the shares found, in one pass: whoever reads `found` twice searches twice."""
    wrong = F.col("problem").isNotNull()
    best = Window.partitionBy("query_id", F.when(wrong, F.col("item_id"))).orderBy(
        F.col("score").desc(), "item_id"
    )
    ranked = found.withColumn("rank", F.when(~wrong, F.row_number().over(best)))
    return ranked.where(wrong | (F.col("rank") <= k))


def _identity(side: VectorFiles) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(side.identity.items())) or "no named encoder"


@dataclass(frozen=True)
class _Search:
    queries: VectorFiles
    items: VectorFiles
    plan: Plan
    k: int
    dimension: int
    settings: KnnSettings
    by_query_id: bool
    token: str


def _run(search: _Search, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a task runs: its share is the one of its number."""
    task = TaskContext.get()
    settings = replace(search.settings, threads=max(search.settings.threads, task.cpus() if task else 1))
    for batch in batches:
        for number in batch.column(0).to_pylist():
            yield from _share(search, search.plan.shares[number], settings)


def _share(search: _Search, share: Share, settings: KnnSettings) -> Iterator[pa.RecordBatch]:
    from newslake.search.knn import Items, TopK

    cosine = settings.metric == "cosine"
    bad_queries: list[Rejects] = []
    bad_items: list[Rejects] = []
    common: dict[str, Any] = {"dimension": search.dimension, "zero_is_wrong": cosine}

    def read_items() -> Iterator[Items]:
        rows = max(1, _rows(share.items)) if search.plan.hold_items else settings.chunk_rows
        for part in chunks(search.items, share.items, rows=rows, rejects=bad_items, **common):
            yield Items(part.ids, part.vectors, k=search.k, settings=settings)

    held = _held(search.token, read_items, bad_items) if search.plan.hold_items else None
    seen = held is not None
    for part in chunks(
        search.queries, share.queries, rows=settings.query_rows, rejects=bad_queries, **common
    ):
        best = TopK(part.vectors, k=search.k, settings=settings)
        # Each chunk of queries reads the items again, and meets the same.
        bad_items = bad_items if held is not None else []
        for found in read_items() if held is None else held:
            best.add(found)
        seen = True
        yield from _results(part, best, by_query_id=search.by_query_id)
    if share.reports_items:
        if not seen:  # no query is left, but what is wrong with the items is worth knowing all the same
            for _ in chunks(search.items, share.items, rows=settings.chunk_rows, rejects=bad_items, **common):
                pass
        yield from _rejected(bad_items, "item_id")
    if share.reports_queries:
        yield from _rejected(bad_queries, "query_id")


_cache: "dict[str, tuple[list[Items], list[Rejects]]]" = {}


def _held(token: str, read: "Callable[[], Iterator[Items]]", rejects: list[Rejects]) -> "list[Items]":
    """The items of this search, read once by each Python worker; those of the search before make room.
    `rejects` is filled."""
    if token not in _cache:
        _cache.clear()
        found = list(read())
        _cache[token] = (found, list(rejects))
    rejects[:] = _cache[token][1]
    return _cache[token][0]


def _results(part: Rows, best: "TopK", *, by_query_id: bool) -> Iterator[pa.RecordBatch]:
    rows, item_ids, scores = best.result()
    ranks: pa.Array
    if by_query_id:
        counted = (scores * np.sqrt(part.weights[rows])).astype(np.float32)
        rows, item_ids, scores = _highest(part.ids, rows, item_ids, counted)
        ranks = pa.nulls(len(rows), pa.int32())
    else:
        ranks = pa.array(
            (np.arange(len(rows)) - np.searchsorted(rows, rows, side="left") + 1).astype(np.int32)
        )
    query_ids = part.ids.take(pa.array(rows))
    columns = [query_ids, item_ids, pa.array(scores), ranks, pa.nulls(len(rows), pa.string())]
    yield from pa.Table.from_arrays(columns, schema=_ARROW).to_batches(max_chunksize=_OUTPUT_ROWS)


def _highest(
    ids: pa.Array, rows: np.ndarray, item_ids: pa.Array, scores: np.ndarray
) -> tuple[np.ndarray, pa.Array, np.ndarray]:
    """One result for each query id and item: that of the highest score."""
    owner = ids.dictionary_encode().indices.to_numpy()[rows].astype(np.int64)
    item = item_ids.dictionary_encode().indices.to_numpy().astype(np.int64)
    pair = owner * (int(item.max(initial=0)) + 1) + item
    order = np.lexsort((-scores, pair))
    first = order[np.diff(pair[order], prepend=-1) != 0]
    return rows[first], item_ids.take(pa.array(first)), scores[first]


def _rejected(rejects: Sequence[Rejects], side: str) -> Iterator[pa.RecordBatch]:
    for part in rejects:
        columns = {
            name: pa.nulls(len(part.ids), kind) for name, kind in zip(_ARROW.names, _ARROW.types, strict=True)
        }
        columns[side], columns["problem"] = part.ids.cast(pa.string()), part.reasons
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=_ARROW)
