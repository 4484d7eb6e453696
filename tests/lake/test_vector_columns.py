"""Vector columns against numpy."""

import math

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.lake.vector_columns import (
    joined,
    joined_with_nothing,
    norm,
    scaled,
    unit,
    vector_size,
    weighted_mean,
)
from newslake.spark.frames import frame_of

SCHEMA = "id int, a array<float>, b array<float>"


def test_unit_norm_and_scaled_are_numpys(spark: SparkSession) -> None:
    made = np.random.default_rng(1).normal(size=(20, 7)).astype(np.float32)
    rows = frame_of(spark, [(i, row.tolist(), None) for i, row in enumerate(made)], SCHEMA)
    found = (
        rows.select("id", unit(F.col("a")), norm(F.col("a")), scaled(F.col("a"), F.col("id") + 0.5))
        .orderBy("id")
        .collect()
    )
    lengths = np.linalg.norm(made.astype(np.float64), axis=1)
    np.testing.assert_allclose([row[2] for row in found], lengths, rtol=1e-14)
    np.testing.assert_allclose(np.array([row[1] for row in found]), made / lengths[:, None], rtol=1e-6)
    np.testing.assert_allclose(
        np.array([row[3] for row in found]), made * (np.arange(20)[:, None] + 0.5), rtol=1e-12
    )
    assert rows.select(unit(F.col("a"))).schema[0].dataType.simpleString() == "array<float>"


def test_what_has_no_direction_has_no_unit_vector(spark: SparkSession) -> None:
    vectors = [None, [], [0.0, 0.0], [1.0, None], [math.nan, 1.0], [math.inf, 1.0], [3e38, 3e38]]
    rows = frame_of(spark, [(i, vector, [1.0]) for i, vector in enumerate(vectors)], SCHEMA)
    found = (
        rows.select(unit(F.col("a")), joined(F.col("a"), F.col("b")), joined(F.col("b"), F.col("a")))
        .orderBy("id")
        .collect()
    )
    for row in found[:-1]:
        assert tuple(row) == (None, None, None)
    # Its square overflows a float, not a double.
    np.testing.assert_allclose(found[-1][0], [math.sqrt(0.5)] * 2, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_cosine_of_joined_vectors_is_the_weighted_sum_of_both_cosines(
    spark: SparkSession, share: float
) -> None:
    generator = np.random.default_rng(2)
    texts, topics = generator.normal(size=(12, 6)), generator.normal(size=(12, 3)) * 40
    rows = frame_of(
        spark,
        [(i, a.tolist(), b.tolist()) for i, (a, b) in enumerate(zip(texts, topics, strict=True))],
        SCHEMA,
    )
    found = np.array(
        [row[0] for row in rows.orderBy("id").select(joined(F.col("a"), F.col("b"), share)).collect()]
    )
    assert found.shape == (12, 9)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-6)
    texts, topics = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (texts, topics))
    np.testing.assert_allclose(
        found @ found.T, (1 - share) * texts @ texts.T + share * topics @ topics.T, atol=1e-6
    )


def test_without_topics_the_text_decides(spark: SparkSession) -> None:
    rows = frame_of(spark, [(1, [3.0, 4.0], None), (2, [0.0], None), (3, None, None)], SCHEMA)
    found = [row[0] for row in rows.orderBy("id").select(joined_with_nothing(F.col("a"), 3)).collect()]
    np.testing.assert_allclose(found[0], [0.6, 0.8, 0.0, 0.0, 0.0], rtol=1e-6)
    assert found[1:] == [None, None]


def test_weighted_mean_is_numpys(spark: SparkSession) -> None:
    vectors = np.random.default_rng(3).normal(size=(3, 5)).astype(np.float32)
    weights = [0.5, 0.0, 2.0]
    unusable = [
        ([], []),
        ([[1.0], [2.0, 3.0]], [1.0, 1.0]),
        ([[1.0]], [0.0]),
        (None, None),
        ([[1.0, 2.0]], [1.0, 1.0]),
        ([[1.0, None]], [1.0]),
    ]
    rows = frame_of(
        spark, [(vectors.tolist(), weights), *unusable], "v array<array<float>>, w array<double>"
    ).coalesce(1)
    found = [row[0] for row in rows.select(weighted_mean(F.col("v"), F.col("w"))).collect()]
    np.testing.assert_allclose(
        found[0], np.average(vectors.astype(np.float64), axis=0, weights=weights), rtol=1e-6
    )
    assert found[1:] == [None] * len(unusable)


def test_mixed_sizes_are_refused(spark: SparkSession) -> None:
    rows = frame_of(spark, [(1, [1.0, 2.0], None), (2, [1.0], None)], SCHEMA)
    assert vector_size(rows.where("id = 1"), "a", "table x") == 2
    assert vector_size(rows.where("id = 0"), "a", "table x") is None
    with pytest.raises(JobFailed, match="table x: vectors of 1 and of 2 entries are mixed"):
        vector_size(rows, "a", "table x")


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        joined(F.col("a"), F.col("b"), 1.5)
