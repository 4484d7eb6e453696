"""The search in Spark against brute force: from Parquet files to results, however items and queries are
shared among tasks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.search.knn_settings import KnnSettings
from newslake.search.nearest import nearest, plan_tasks
from newslake.search.vector_files import (
    NO_LENGTH,
    NO_WEIGHT,
    NOT_FINITE,
    NULL_VECTOR,
    Rejects,
    Unit,
    VectorFiles,
    chunks,
)
from tests.search.brute import brute_force, unit

DIMENSION = 12
Vectors = Sequence[Sequence[float | None] | None]


def write(
    folder: Path,
    ids: Sequence[str],
    vectors: Vectors | np.ndarray,
    *,
    weights: Sequence[float | None] = (),
    files: int = 2,
    rows_per_group: int = 7,
) -> tuple[str, ...]:
    """Parquet files as Spark would write them: several, with several row groups each."""
    folder.mkdir(parents=True)
    listed = vectors.tolist() if isinstance(vectors, np.ndarray) else list(vectors)
    columns = {
        "id": pa.array(ids, pa.string()),
        "vector": pa.array(listed, pa.list_(pa.float32())),
        "kind": ["a"] * len(ids),
    }
    table = pa.table({**columns, "weight": pa.array(weights or [1.0] * len(ids), pa.float64())})
    size = -(-len(ids) // files) if ids else 1
    for number in range(files):
        pq.write_table(
            table.slice(number * size, size), folder / f"part {number}.parquet", row_group_size=rows_per_group
        )
    return tuple(path.as_uri() for path in sorted(folder.glob("*.parquet")))


def side(files: tuple[str, ...], **more: object) -> VectorFiles:
    """The files as one side of a search."""
    return VectorFiles(files, "id", "vector", **more)  # type: ignore[arg-type]


def drawn(seed: int, prefix: str, rows: int) -> tuple[list[str], np.ndarray]:
    """Ids in no order, and vectors some of which are equal."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, DIMENSION)).astype(np.float32)
    vectors[rows // 2 :: 3] = vectors[: len(vectors[rows // 2 :: 3])]
    return [f"{prefix}{i}" for i in random.permutation(rows)], vectors


@pytest.mark.parametrize(
    ("queries", "items", "tasks", "held_mb"),
    [(9, 60, 3, 1024), (60, 9, 3, 1024), (60, 9, 2, 0), (1, 50, 2, 1024), (30, 3, 4, 0)],
    ids=["items shared", "items held", "items streamed past all", "one query", "fewer items than k"],
)
def test_is_brute_force(
    spark: SparkSession, tmp_path: Path, queries: int, items: int, tasks: int, held_mb: int
) -> None:
    asked_ids, asked = drawn(1, "Q", queries)
    offered_ids, offered = drawn(2, "N", items)
    settings = KnnSettings(chunk_rows=16, query_rows=20, block_rows=8, tile_rows=5)
    found = nearest(
        spark,
        side(write(tmp_path / "queries", asked_ids, asked)),
        side(write(tmp_path / "items", offered_ids, offered)),
        k=5,
        settings=settings,
        tasks=tasks,
        held_mb=held_mb,
    )
    rows = found.collect()
    assert all(row["problem"] is None for row in rows)
    got = sorted((row["query_id"], row["rank"], row["item_id"]) for row in rows)
    expected: list[tuple[str, int, str]] = []
    rank = 0
    for row, item, _ in brute_force(unit(asked), offered_ids, unit(offered), 5):
        rank = rank + 1 if expected and expected[-1][0] == asked_ids[row] else 1
        expected.append((asked_ids[row], rank, item))
    assert got == sorted(expected)
    by_pair = {
        (asked_ids[row], item): score
        for row, item, score in brute_force(unit(asked), offered_ids, unit(offered), items)
    }
    assert all(abs(row["score"] - by_pair[row["query_id"], row["item_id"]]) < 1e-6 for row in rows)


@pytest.mark.parametrize("held_mb", [0, 1024])
def test_what_cannot_be_searched_is_told_once(spark: SparkSession, tmp_path: Path, held_mb: int) -> None:
    good = [1.0, 0.0, 0.0]
    items: Vectors = [
        good,
        [0.0, 1.0, 0.0],
        None,
        [1.0, None, 0.0],
        [1.0, float("nan"), 0.0],
        [0.0, 0.0, 0.0],
        [1.0, 2.0],
        good,
    ]
    queries: Vectors = [good, [float("inf"), 0.0, 0.0], good, [1.0] * 4, good, good, good, good, good]
    found = nearest(
        spark,
        side(write(tmp_path / "q", [f"Q{i}" for i in range(9)], queries, rows_per_group=2)),
        side(write(tmp_path / "i", [f"N{i}" for i in range(8)], items, rows_per_group=2)),
        k=2,
        tasks=3,
        held_mb=held_mb,
        settings=KnnSettings(query_rows=3),
    ).collect()
    wrong = {
        (row["query_id"] or row["item_id"], row["problem"]) for row in found if row["problem"] is not None
    }
    assert wrong == {
        ("N2", NULL_VECTOR),
        ("N3", NULL_VECTOR),
        ("N4", NOT_FINITE),
        ("N5", NO_LENGTH),
        ("N6", "the vector has 2 entries, the others 3"),
        ("Q1", NOT_FINITE),
        ("Q3", "the vector has 4 entries, the others 3"),
    }
    assert len([row for row in found if row["problem"] is not None]) == 7
    results = [(row["query_id"], row["rank"], row["item_id"]) for row in found if row["problem"] is None]
    assert sorted(results) == [
        (f"Q{i}", rank, item) for i in (0, 2, 4, 5, 6, 7, 8) for rank, item in ((1, "N0"), (2, "N7"))
    ]


def test_filters_before_the_product(spark: SparkSession, tmp_path: Path) -> None:
    ids, vectors = drawn(3, "N", 40)
    files = write(tmp_path / "items", ids, vectors)
    pq.write_table(pa.table({"id": pa.array(["N3", "N7", "N11", "N99"])}), tmp_path / "only.parquet")
    queries = side(write(tmp_path / "queries", ["Q0"], vectors[:1]))
    only = side(files, only=((tmp_path / "only.parquet").as_uri(),))
    assert {row["item_id"] for row in nearest(spark, queries, only, k=5).collect()} == {"N3", "N7", "N11"}
    assert nearest(spark, queries, side(files, where={"kind": "b"}), k=5).count() == 0
    assert nearest(spark, queries, side(files, where={"kind": "a"}), k=5).count() == 5


def test_nothing_on_one_side(spark: SparkSession, tmp_path: Path) -> None:
    ids, vectors = drawn(4, "N", 5)
    some = side(write(tmp_path / "some", ids, vectors))
    none = side(write(tmp_path / "none", [], np.empty((0, DIMENSION), np.float32), files=1))
    for queries, items in ((some, none), (none, some), (some, side(())), (side(()), some)):
        assert nearest(spark, queries, items, k=3).count() == 0


def test_several_queries_of_one_id(spark: SparkSession, tmp_path: Path) -> None:
    offered_ids, offered = drawn(5, "N", 30)
    _, asked = drawn(6, "U", 12)
    owners = [f"U{i % 4}" for i in range(12)]
    weights = [0.0, 4.0, 0.25, 1.0, 2.0, 3.0] * 2
    wrong = [None, -1.0, float("nan"), float("inf")]
    files = write(
        tmp_path / "q",
        [*owners, "U9", "U9", "U9", "U9"],
        np.concatenate([asked, asked[:4]]),
        weights=[*weights, *wrong],
    )
    found = nearest(
        spark,
        side(files, weight_column="weight"),
        side(write(tmp_path / "i", offered_ids, offered)),
        k=4,
        tasks=2,
        by_query_id=True,
    )
    assert [(row["query_id"], row["problem"]) for row in found.where("problem IS NOT NULL").collect()] == [
        ("U9", NO_WEIGHT)
    ] * 4
    found = found.where("problem IS NULL")
    best = found.groupBy("query_id", "item_id").agg(F.max("score").alias("score")).collect()
    expected: dict[tuple[str, str], float] = {}
    for row, item, score in brute_force(unit(asked), offered_ids, unit(offered), 4):
        expected[owners[row], item] = max(
            score * weights[row] ** 0.5, expected.get((owners[row], item), -2.0)
        )
    got = {(row["query_id"], row["item_id"]): row["score"] for row in best}
    assert got.keys() == expected.keys()
    assert all(abs(got[pair] - expected[pair]) < 1e-6 for pair in got)


def test_refuses_to_compare_what_is_not_comparable(spark: SparkSession, tmp_path: Path) -> None:
    files = write(tmp_path / "some", *drawn(4, "N", 5))
    ours, theirs = (side(files, identity={"encoder_id": name}) for name in ("a", "b"))
    with pytest.raises(
        UserError, match="vectors of encoder_id a cannot be compared with vectors of encoder_id b"
    ):
        nearest(spark, ours, theirs, k=3)
    with pytest.raises(UserError, match="k must be at least 1"):
        nearest(spark, ours, ours, k=0)


def test_plan_holds_few_items_and_shares_many() -> None:
    few = [Unit("few", i, 10) for i in range(3)]
    many = [Unit("many", i, 1000) for i in range(8)]
    held = plan_tasks(few, many, dimension=100, tasks=4, held_mb=1)
    assert held.hold_items
    assert not held.merge
    assert [len(share.queries) for share in held.shares] == [2, 2, 2, 2]
    shared = plan_tasks(many, few, dimension=100, tasks=4, held_mb=1)
    assert shared.merge
    assert sorted(unit.group for share in shared.shares for unit in share.items) == list(range(8))
    assert all(share.queries == tuple(few) for share in shared.shares)
    both = plan_tasks(many[:2], many[2:], dimension=100, tasks=4, held_mb=0)
    assert len(both.shares) == 4
    assert sorted((share.reports_items, share.reports_queries) for share in both.shares) == [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ]


def test_chunks_are_bounded_and_whole(tmp_path: Path) -> None:
    ids, vectors = drawn(7, "N", 50)
    files = side(write(tmp_path / "items", ids, vectors, files=3))
    units = files.units()
    rejects: list[Rejects] = []
    found = list(chunks(files, units, dimension=DIMENSION, rows=16, zero_is_wrong=True, rejects=rejects))
    assert [len(part.ids) for part in found] == [16, 16, 16, 2]
    assert [item for part in found for item in part.ids.to_pylist()] == ids
    np.testing.assert_array_equal(np.concatenate([part.vectors for part in found]), vectors)
    assert not rejects


def test_the_size_is_that_of_the_rows_that_take_part(spark: SparkSession, tmp_path: Path) -> None:
    """Another encoder's vectors before, between and after them, some of them of the same size, say
    nothing."""
    ids, wanted = drawn(3, "v", 30)
    other = np.ones(DIMENSION + 5, np.float32)
    rows = [(f"o{i}", "other", other) for i in range(40)]
    for place, (name, vector) in enumerate(zip(ids, wanted, strict=True)):
        rows.insert(41 + 2 * place, (name, "wanted", vector))
        rows.append((f"p{place}", "third" if place % 2 else "other", vector if place % 2 else other))
    lists = pa.array([vector.tolist() for _, _, vector in rows], pa.list_(pa.float32()))
    table = pa.table(
        {"id": [name for name, _, _ in rows], "vector": lists, "encoder_id": [kind for _, kind, _ in rows]}
    )
    pq.write_table(table, tmp_path / "mixed.parquet", row_group_size=16)
    mixed = side(((tmp_path / "mixed.parquet").as_uri(),), where={"encoder_id": "wanted"})
    assert mixed.dimension(mixed.units()) == DIMENSION
    assert side(mixed.files, where={"encoder_id": "other"}).dimension(mixed.units()) == DIMENSION + 5
    assert side(mixed.files, where={"encoder_id": "nobody"}).dimension(mixed.units()) is None
    found = nearest(spark, mixed, mixed, k=3).collect()
    alone = side(write(tmp_path / "alone", ids, wanted))
    assert {tuple(row) for row in found} == {
        tuple(row) for row in nearest(spark, alone, alone, k=3).collect()
    }
    assert len(found) == 90
    assert all(row["problem"] is None for row in found)
