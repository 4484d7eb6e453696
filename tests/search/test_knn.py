"""The plain search against brute force: exact ids and order, ties by id, whatever the sizes, the blocks and
the precision."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newslake.errors import UserError
from newslake.search.knn import Items, TopK, top_k
from newslake.search.knn_settings import KnnSettings
from newslake.search.product import exact, search_device
from tests.search.brute import brute_force, unit

Hits = list[tuple[int, str, float]]


def hits(queries: np.ndarray, ids: list[str], items: np.ndarray, k: int, **how: object) -> Hits:
    """What top_k gives, as a list."""
    rows, found, scores = top_k(queries, pa.array(ids, pa.string()), items, k, KnnSettings(**how))  # type: ignore[arg-type]
    return list(zip(rows.tolist(), found.to_pylist(), scores.tolist(), strict=True))


def whole_numbers(seed: int, rows: int, dimension: int, most: int = 3) -> np.ndarray:
    """Small whole numbers: inner products are exact in float32, and ties are many."""
    return np.random.default_rng(seed).integers(-most, most + 1, (rows, dimension)).astype(np.float32)


def shuffled_ids(seed: int, count: int) -> list[str]:
    """Ids in no order."""
    return [f"N{i}" for i in np.random.default_rng(seed).permutation(count)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(0, 40),
    items=st.integers(0, 300),
    dimension=st.integers(1, 40),
    k=st.integers(1, 30),
    most=st.sampled_from([0, 1, 3, 100]),
    precision=st.sampled_from(["fp32", "bf16"]),
    sizes=st.tuples(st.integers(1, 50), st.integers(1, 130), st.integers(1, 320)),
    threads=st.sampled_from([1, 2]),
)
def test_is_brute_force_with_ties_by_id(
    seed: int,
    queries: int,
    items: int,
    dimension: int,
    k: int,
    most: int,
    precision: str,
    sizes: tuple[int, int, int],
    threads: int,
) -> None:
    asked, offered = (
        whole_numbers(seed, queries, dimension, most),
        whole_numbers(seed + 1, items, dimension, most),
    )
    ids = shuffled_ids(seed, items)
    tile, block, chunk = sizes
    how = {
        "metric": "ip",
        "precision": precision,
        "tile_rows": tile,
        "block_rows": block,
        "chunk_rows": chunk,
        "threads": threads,
    }
    assert hits(asked, ids, offered, k, **how) == brute_force(asked, ids, offered, k)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("items", [1, 63, 64, 65, 4095, 4096, 4097, 9000])
def test_sizes_around_the_edges_of_blocks(items: int, precision: str) -> None:
    random = np.random.default_rng(items)
    asked, offered = (
        random.standard_normal((33, 24), np.float32),
        random.standard_normal((items, 24), np.float32),
    )
    ids = [f"N{i:05}" for i in range(items)]
    found = hits(asked, ids, offered, 20, precision=precision, tile_rows=16)
    expected = brute_force(unit(asked), ids, unit(offered), 20)
    assert [hit[:2] for hit in found] == [hit[:2] for hit in expected]
    np.testing.assert_allclose([hit[2] for hit in found], [hit[2] for hit in expected], atol=1e-6)


def test_scores_do_not_depend_on_blocks_or_precision() -> None:
    random = np.random.default_rng(3)
    asked, offered = (
        random.standard_normal((50, 384), np.float32),
        random.standard_normal((3000, 384), np.float32),
    )
    offered[1000:1500] = offered[:500]  # equal vectors, tied to the last bit
    ids = shuffled_ids(3, 3000)
    first = hits(asked, ids, offered, 20, precision="fp32")
    for how in (
        {"precision": "bf16"},
        {"block_rows": 100},
        {"chunk_rows": 700, "tile_rows": 7},
        {"precision": "bf16", "chunk_rows": 1001},
    ):
        assert hits(asked, ids, offered, 20, **how) == first


def test_a_pair_scores_alike_in_any_company() -> None:
    random = np.random.default_rng(4)
    asked, offered = (
        random.standard_normal((40, 97), np.float32),
        random.standard_normal((700, 97), np.float32),
    )
    rows, columns = np.repeat(np.arange(40), 700), np.tile(np.arange(700), 40)
    together = exact(asked, offered, rows, columns)
    for place in (0, 1, 255, 256, 257, 27_999):
        alone = exact(asked, offered, rows[place : place + 1], columns[place : place + 1])
        assert alone.tobytes() == together[place : place + 1].tobytes()
    np.testing.assert_allclose(
        together.reshape(40, 700), asked.astype(np.float64) @ offered.astype(np.float64).T, atol=1e-4
    )


def test_many_equal_items_give_the_lowest_ids() -> None:
    offered = np.ones((5000, 8), np.float32)
    found = hits(
        np.ones((3, 8), np.float32), [f"N{i:05}" for i in range(4999, -1, -1)], offered, 20, chunk_rows=1300
    )
    assert [hit[1] for hit in found] == [f"N{i:05}" for i in range(20)] * 3
    np.testing.assert_allclose([hit[2] for hit in found], 1.0, atol=1e-6)


def test_vectors_of_very_different_length() -> None:
    # The bound of bf16 grows with the longest vector of a block: still nothing is lost.
    random = np.random.default_rng(5)
    asked = random.standard_normal((20, 32), np.float32)
    offered = random.standard_normal((2000, 32), np.float32) * np.exp(
        3.0 * random.standard_normal((2000, 1))
    ).astype(np.float32)
    ids = shuffled_ids(5, 2000)
    found = hits(asked, ids, offered, 10, metric="ip", precision="bf16")
    assert [hit[:2] for hit in found] == [hit[:2] for hit in brute_force(asked, ids, offered, 10)]


def test_nothing_on_one_side() -> None:
    none, some = np.empty((0, 4), np.float32), np.ones((2, 4), np.float32)
    assert hits(none, ["A", "B"], some, 3) == []
    assert hits(some, [], none, 3) == []


@pytest.mark.parametrize(("bad", "metric"), [(np.nan, "ip"), (np.inf, "cosine"), (0.0, "cosine")])
def test_refuses_what_has_no_score(bad: float, metric: str) -> None:
    good, wrong = np.ones((2, 4), np.float32), np.ones((2, 4), np.float32)
    wrong[1] = bad
    for asked, offered, side in ((good, wrong, "item"), (wrong, good, "query")):
        with pytest.raises(ValueError, match=f"a {side} vector is not finite, or has zero length"):
            hits(asked, ["A", "B"], offered, 1, metric=metric)
    with pytest.raises(ValueError, match="do not fit together"):
        hits(good, ["A", "B"], np.ones((2, 3), np.float32), 1)


def test_refuses_settings_that_mean_nothing() -> None:
    with pytest.raises(UserError, match="--block-rows must be at least 1"):
        KnnSettings(block_rows=0)
    with pytest.raises(UserError, match="k must be at least 1"):
        TopK(np.ones((1, 2), np.float32), k=0, settings=KnnSettings())
    with pytest.raises(UserError, match="use auto, cpu or cuda"):
        search_device("tpu")


def test_chunks_may_come_in_any_order_of_ids() -> None:
    offered = whole_numbers(8, 60, 3, 1)
    ids = [f"N{i:02}" for i in range(60)]
    asked = whole_numbers(9, 10, 3, 1)
    found = TopK(asked, k=7, settings=KnnSettings(metric="ip"))
    for part in (slice(40, 60), slice(0, 20), slice(20, 40)):
        found.add(Items(pa.array(ids[part]), offered[part], k=7, settings=KnnSettings(metric="ip")))
    rows, item_ids, scores = found.result()
    assert list(zip(rows.tolist(), item_ids.to_pylist(), scores.tolist(), strict=True)) == brute_force(
        asked, ids, offered, 7
    )
