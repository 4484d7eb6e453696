"""What feeds are like, against numpy over the same small feeds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from newslake.ranking.calibration import mixes
from newslake.ranking.quality import distances, quality
from newslake.search.vector_files import VectorFiles
from newslake.spark.frames import frame_of


def pairwise(unit: np.ndarray) -> float:
    """The mean of 1 - cosine over pairs, pair by pair."""
    return float(np.mean([1 - unit[i] @ unit[j] for i in range(len(unit)) for j in range(i)]))


def test_the_mean_over_pairs_needs_no_pair() -> None:
    draw = np.random.default_rng(1)
    unit = draw.normal(size=(20, 6))
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True)).astype(np.float32)
    counts = np.array([3, 0, 1, 5, 2])
    item = draw.integers(0, 20, counts.sum())
    found = distances(unit, item, counts)
    assert np.isnan(found[[1, 2]]).all()
    for at, start in ((0, 0), (3, 4), (4, 9)):
        assert found[at] == pytest.approx(pairwise(unit[item[start : start + counts[at]]]), abs=1e-6)


def test_figures_of_an_hour(spark: SparkSession, tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    names = [f"N{n}" for n in range(12)]
    vectors = draw.normal(size=(11, 5)).astype(np.float32)  # N11 has none
    path = tmp_path / "vectors.parquet"
    kind = pa.schema([("news_id", pa.string()), ("vector", pa.list_(pa.float32()))])
    pq.write_table(pa.table({"news_id": names[:11], "vector": vectors.tolist()}, schema=kind), path)
    impressions = draw.integers(0, 5, 12)
    category = draw.choice(["a", "b", "c"], 12)
    feeds = {
        f"u{n}": [
            str(name) for name in draw.choice(names[:11] if n else names, size=4 if n else 12, replace=False)
        ]
        for n in range(4)
    }
    feeds["u9"] = ["N11"]
    # X is no feed's; u8 has no feed.
    clicks = [("u0", "a"), ("u0", "b"), ("u0", "b"), ("u1", "x"), ("u8", "a")]
    found = quality(
        frame_of(
            spark,
            [(user, name) for user, own in feeds.items() for name in own],
            "user_id string, news_id string",
        ).repartition(3),
        frame_of(
            spark,
            [(name, int(n)) for name, n in zip(names, impressions, strict=True)],
            "news_id string, impressions bigint",
        ),
        frame_of(
            spark,
            [(name, str(kind)) for name, kind in zip(names, category, strict=True)],
            "news_id string, category string",
        ),
        mixes(frame_of(spark, clicks, "user_id string, category string")),
        VectorFiles((f"file://{path}",), "news_id", "vector"),
    )
    entries = [name for own in feeds.values() for name in own]
    share = {name: (n + 1) / (impressions.sum() + 12) for name, n in zip(names, impressions, strict=True)}
    assert (found["readers"], found["entries"], found["articles"]) == (5, len(entries), len(set(entries)))
    assert found["coverage"] == pytest.approx(len(set(entries)) / 12)
    assert found["novelty"] == pytest.approx(np.mean([-np.log2(share[name]) for name in entries]))
    assert found["new_share"] == pytest.approx(
        np.mean([impressions[names.index(name)] == 0 for name in entries])
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    lists = [[names.index(name) for name in own if name != "N11"] for own in feeds.values()]
    assert found["intra_list_diversity"] == pytest.approx(
        np.mean([pairwise(unit[own]) for own in lists if len(own) > 1]), abs=1e-6
    )
    kinds = ["a", "b", "c", "x"]
    apart = []
    for user in ("u0", "u1"):
        p = np.array(
            [sum(1 for name, one in clicks if name == user and one == kind) for kind in kinds], float
        )
        p /= p.sum()
        q = np.array(
            [np.mean([category[names.index(name)] == kind for name in feeds[user]]) for kind in kinds]
        )
        mixed = 0.99 * q + 0.01 * p
        apart.append(sum(a * np.log(a / b) for a, b in zip(p, mixed, strict=True) if a > 0))
    assert found["miscalibration"] == pytest.approx(np.mean(apart))


def test_an_hour_without_a_feed_has_no_figures(spark: SparkSession, tmp_path: Path) -> None:
    nothing = frame_of(spark, [], "user_id string, news_id string")
    rates = frame_of(spark, [("N1", 0)], "news_id string, impressions bigint")
    articles = frame_of(spark, [("N1", "a")], "news_id string, category string")
    mix = mixes(frame_of(spark, [], "user_id string, category string"))
    assert quality(nothing, rates, articles, mix, VectorFiles((), "news_id", "vector")) == {}
