"""Whitened vectors: what the projection does to variances, and that the search on it is brute force on
projected vectors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from newslake.search.nearest import nearest
from newslake.search.whiten import moments, whitened, whitening
from tests.search.test_nearest import DIMENSION, drawn, side, write


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row at length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cone(seed: int, rows: int) -> np.ndarray:
    """Vectors of which some directions vary ten times as much as others, about a large mean."""
    random = np.random.default_rng(seed)
    return (random.standard_normal((rows, DIMENSION)) * np.geomspace(0.1, 1.0, DIMENSION) + 2.0).astype(
        np.float32
    )


@given(st.integers(0, 2**31), st.integers(2, 8), st.floats(0.0, 1.0))
def test_every_direction_is_scaled_by_the_power_of_its_variance(seed: int, size: int, power: float) -> None:
    random = np.random.default_rng(seed)
    variances = random.uniform(0.01, 1.0, size)
    directions = np.linalg.qr(random.standard_normal((size, size)))[0]
    found = whitening((directions * variances) @ directions.T, 10**9, power)
    for variance, direction in zip(variances, directions.T, strict=True):
        np.testing.assert_allclose(
            direction @ found, direction * (variance / variances.mean()) ** (-power / 2), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "vectors",
    [np.ones((5, 4)), np.eye(4)[:1], np.repeat(np.eye(4)[:2], 3, axis=0)],
    ids=["equal", "one", "two"],
)
def test_no_vector_loses_its_direction(vectors: np.ndarray) -> None:
    vectors = unit(vectors)
    found = whitening(np.cov(vectors.T, bias=True), len(vectors), 1.0)
    assert np.isfinite(found).all()
    assert np.linalg.eigvalsh(found).min() > 0.1


def test_moments_are_numpys(spark: SparkSession, tmp_path: Path) -> None:
    vectors = cone(1, 200)
    files = side(write(tmp_path / "a", [f"N{i}" for i in range(200)], vectors))
    count, covariance = moments(spark, files, files.units(), DIMENSION)
    assert count == 200
    np.testing.assert_allclose(covariance, np.cov(unit(vectors).T, bias=True), rtol=1e-4, atol=1e-7)


def test_search_is_brute_force_on_projected_vectors(spark: SparkSession, tmp_path: Path) -> None:
    (asked_ids, _), (offered_ids, _) = drawn(1, "Q", 12), drawn(2, "N", 150)
    asked, offered = cone(1, 12), cone(2, 150)
    queries = side(write(tmp_path / "queries", asked_ids, asked))
    items = side(write(tmp_path / "items", offered_ids, offered))
    seen = whitened(spark, items, queries, power=0.5)
    assert seen[0].projection is seen[1].projection
    found = nearest(spark, seen[1], seen[0], k=5).collect()
    matrix = whitening(np.cov(unit(offered).T, bias=True), 150, 0.5)
    cosines = unit(asked @ matrix) @ unit(offered @ matrix).T
    plain = unit(asked) @ unit(offered).T
    expected = {
        (q, offered_ids[n]): cosines[i, n]
        for i, q in enumerate(asked_ids)
        for n in np.argsort(-cosines[i])[:5]
    }
    assert {(row["query_id"], row["item_id"]) for row in found} == set(expected)
    for row in found:
        assert row["score"] == pytest.approx(expected[row["query_id"], row["item_id"]], abs=1e-5)
    assert set(expected) != {
        (q, offered_ids[n]) for i, q in enumerate(asked_ids) for n in np.argsort(-plain[i])[:5]
    }


def test_files_decide_nothing(spark: SparkSession, tmp_path: Path) -> None:
    ids, vectors = [f"N{i}" for i in range(60)], cone(3, 60)
    answers = []
    for name, files, group in (("one", 1, 60), ("many", 5, 4)):
        items = side(write(tmp_path / name, ids, vectors, files=files, rows_per_group=group))
        projected = whitened(spark, items, items, power=0.7)
        found = nearest(spark, projected[1], projected[0], k=4).collect()
        answers.append({(row["query_id"], row["rank"]): (row["item_id"], row["score"]) for row in found})
    assert answers[0] == answers[1]


def test_power_0_and_nothing_to_see_leave_the_sides_as_they_are(spark: SparkSession, tmp_path: Path) -> None:
    some = side(write(tmp_path / "some", ["N1", "N2"], cone(1, 2)))
    none = side(write(tmp_path / "none", [], np.empty((0, DIMENSION), np.float32)))
    assert whitened(spark, some, some, power=0.0) == (some, some)
    assert whitened(spark, none, some, power=0.5) == (none, some)
