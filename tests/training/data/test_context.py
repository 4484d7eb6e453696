"""Popularity and age at the moment of showing: nothing of that moment or later gets in; weights are those
that made the clicks."""

from datetime import timedelta

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.spark.frames import frame_of
from newslake.training.data.context import PRIOR_SHARE, PRIOR_SHOWN, fit_weights, moments
from tests.training.frames import NOON


def test_nothing_of_the_same_moment_or_later_gets_in(spark: SparkSession) -> None:
    rows = [
        ("train", "1", 0, "N1", NOON, True),
        ("train", "1", 1, "N2", NOON, False),
        ("train", "2", 0, "N1", NOON, True),  # the same moment as the first
        ("dev", "3", 0, "N1", NOON + timedelta(microseconds=1), False),
        ("dev", "4", 0, "N1", NOON + timedelta(hours=3), True),
        ("test", "5", 0, "N1", NOON + timedelta(hours=4), None),
    ]
    shown = frame_of(
        spark,
        rows,
        "split string, impression_id string, position int, news_id string, occurred_at timestamp, clicked"
        " boolean",
    )
    news = frame_of(
        spark, [("N1", NOON - timedelta(hours=1)), ("N2", None)], "news_id string, published_at timestamp"
    )
    found = {(row["impression_id"], row["position"]): row for row in moments(shown, news).collect()}

    def popularity(clicks: int, shown: int) -> float:
        return float(np.log((clicks + PRIOR_SHOWN * PRIOR_SHARE) / (shown + PRIOR_SHOWN) / PRIOR_SHARE))

    known = {
        ("1", 0): (0, 0),
        ("1", 1): (0, 0),
        ("2", 0): (0, 0),
        ("3", 0): (2, 2),
        ("4", 0): (2, 3),
        ("5", 0): (3, 4),
    }
    assert {key: row["popularity"] for key, row in found.items()} == pytest.approx(
        {key: popularity(*n) for key, n in known.items()}
    )
    ages = {
        ("1", 0): np.log(2),
        ("1", 1): 0.0,
        ("2", 0): np.log(2),
        ("3", 0): np.log(2),
        ("4", 0): np.log(5),
        ("5", 0): np.log(6),
    }
    assert {key: row["age"] for key, row in found.items()} == pytest.approx(ages, abs=1e-6)
    # The guard against leaks: whatever is clicked at a moment or after it, what was known before stays as it
    # was.
    other = shown.withColumn(
        "clicked", F.when(F.col("occurred_at") >= F.lit(NOON), ~F.col("clicked")).otherwise(F.col("clicked"))
    )
    changed = {
        (row["impression_id"], row["position"]): row["popularity"] for row in moments(other, news).collect()
    }
    assert all(changed[key] == found[key]["popularity"] for key in (("1", 0), ("1", 1), ("2", 0)))
    assert changed["3", 0] != found["3", 0]["popularity"]


def test_weights_are_those_that_made_the_clicks() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(4000, 10, 3))
    features[:, :, 2] = 0.0  # never varies
    true = np.array([1.0, -0.5, 0.0])
    chosen = (features @ true + random.gumbel(size=(4000, 10))).argmax(axis=1)
    labels = (np.arange(10) == chosen[:, None]).astype(np.int8)
    found = fit_weights(features.reshape(-1, 3), labels.ravel(), np.arange(0, 40001, 10))
    assert found == pytest.approx(true, abs=0.06)
