"""The order by Euclidean distance after the transformation is the order by inner product before it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.search.mips import item_column, largest_norm, query_column
from newslake.search.unit_rows import Floats
from newslake.spark.frames import frame_of


def item_rows(vectors: Floats, largest: float) -> Floats:
    """What item_column should give, for a matrix of items: (n, d) -> (n, d + 1)."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    rest = np.sqrt(np.maximum(0.0, largest * largest - squares))
    return np.concatenate([vectors, rest[:, None].astype(np.float32)], axis=1)


def query_rows(vectors: Floats) -> Floats:
    """What query_column should give, for a matrix of queries: (q, d) -> (q, d + 1)."""
    return np.concatenate([vectors, np.zeros((len(vectors), 1), np.float32)], axis=1)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.integers(1, 60),
    queries=st.integers(1, 10),
    dimension=st.integers(1, 64),
    spread=st.floats(0.0, 3.0),
)
def test_distance_ranks_as_the_inner_product(
    seed: int, items: int, queries: int, dimension: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    lengths = np.exp(spread * random.standard_normal((items, 1)))
    offered = (random.standard_normal((items, dimension)) * lengths).astype(np.float32)
    asked = random.standard_normal((queries, dimension)).astype(np.float32)
    largest = float(np.linalg.norm(offered.astype(np.float64), axis=1).max())
    x, q = item_rows(offered, largest).astype(np.float64), query_rows(asked).astype(np.float64)
    products = asked.astype(np.float64) @ offered.astype(np.float64).T
    squares = ((q[:, None, :] - x[None, :, :]) ** 2).sum(axis=2)
    # The identity itself, and the order that follows from it wherever products are apart by more than
    # float32's rounding.
    expected = (q * q).sum(axis=1)[:, None] + largest**2 - 2.0 * products
    scale = largest**2 + np.abs(asked).max() * largest * dimension
    np.testing.assert_allclose(squares, expected, atol=1e-6 * scale, rtol=1e-6)
    apart = (products[:, :, None] - products[:, None, :]) > 1e-5 * scale
    assert (squares[:, :, None] < squares[:, None, :])[apart].all()
    # All items have one length: cosine ranks them alike.
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), largest, rtol=1e-6)


def test_columns_are_the_same_as_rows(spark: SparkSession) -> None:
    offered = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    frame = frame_of(spark, [(i, row.tolist()) for i, row in enumerate(offered)], "i int, v array<float>")
    largest = largest_norm(frame, "v")
    assert largest == 5.0
    found = (
        frame.select(
            "i", item_column(F.col("v"), largest).alias("item"), query_column(F.col("v")).alias("query")
        )
        .orderBy("i")
        .collect()
    )
    np.testing.assert_array_equal(
        np.array([row["item"] for row in found], np.float32), item_rows(offered, 5.0)
    )
    np.testing.assert_array_equal(np.array([row["query"] for row in found], np.float32), query_rows(offered))
    assert dict(frame.select(query_column(F.col("v")).alias("v")).dtypes) == {"v": "array<float>"}


def test_no_item_and_no_length(spark: SparkSession) -> None:
    assert largest_norm(frame_of(spark, [], "v array<float>"), "v") == 0.0
    with pytest.raises(JobFailed, match="a vector is not finite"):
        largest_norm(frame_of(spark, [([math.inf],)], "v array<float>"), "v")
