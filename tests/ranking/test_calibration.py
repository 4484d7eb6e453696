"""Calibrated feeds: the greedy order against one that computes the whole objective for every candidate, in
plain numpy."""

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.ranking.calibration import calibrated, calibrated_feeds, divergence, mixes, relevance_of
from newslake.spark.frames import frame_of

ALPHA = 0.01


def objective(
    listed: list[int], relevance: np.ndarray, category: np.ndarray, p: np.ndarray, diversity: float
) -> float:
    """Steck's, of a list: relevance less the divergence of its mix from p, as written in the paper."""
    q = np.bincount(category[listed], minlength=len(p)) / len(listed)
    mixed = (1 - ALPHA) * q + ALPHA * p
    kl = sum(share * np.log(share / other) for share, other in zip(p, mixed, strict=True) if share > 0)
    return float((1 - diversity) * relevance[listed].sum() - diversity * kl)


def greedy(relevance: np.ndarray, category: np.ndarray, p: np.ndarray, diversity: float) -> list[int]:
    listed: list[int] = []
    while len(listed) < len(relevance):
        rest = [n for n in range(len(relevance)) if n not in listed]
        worth = [objective([*listed, n], relevance, category, p, diversity) for n in rest]
        listed.append(next(n for n, value in zip(rest, worth, strict=True) if value >= max(worth) - 1e-12))
    return listed


@pytest.mark.parametrize("diversity", [0.05, 0.4, 0.9, 1.0])
def test_every_place_takes_what_brings_most(diversity: float) -> None:
    draw = np.random.default_rng(int(100 * diversity))
    users, width, kinds = 12, 14, 5
    counts = draw.integers(1, width + 1, users)
    relevance = -np.sort(-draw.random((users, width)), axis=1)
    relevance[np.arange(width)[None, :] >= counts[:, None]] = np.nan
    category = draw.integers(0, kinds, (users, width))
    clicks = draw.integers(0, 4, (users, kinds)) * (draw.random((users, 1)) < 0.9)
    p = clicks / np.maximum(clicks.sum(1, keepdims=True), 1)
    found = calibrated(relevance, category, p, diversity)
    for user in range(users):
        many = counts[user]
        assert (found[user, many:] == -1).all()
        wanted = (
            greedy(relevance[user, :many], category[user, :many], p[user], diversity)
            if p[user].any()
            else list(range(many))
        )
        assert found[user, :many].tolist() == wanted


def test_without_diversity_the_order_stays_and_with_all_of_it_the_mix_is_met() -> None:
    relevance = np.linspace(1.0, 0.0, 40)[None, :]
    category = np.array([[0] * 20 + [1] * 20])
    p = np.array([[0.75, 0.25]])
    assert calibrated(relevance, category, p, 0.0)[0].tolist() == list(range(40))
    first = category[0, calibrated(relevance, category, p, 1.0)[0, :20]]
    assert (first == 0).mean() == 0.75
    mix = np.array([[0.75, 0.25]])
    assert divergence(p, mix)[0] == pytest.approx(0.0, abs=1e-12)
    assert divergence(p, np.array([[1.0, 0.0]]))[0] == pytest.approx(
        0.75 * np.log(0.75 / 0.9975) + 0.25 * np.log(100)
    )


def test_feeds_of_frames_are_those_of_the_arrays(spark: SparkSession) -> None:
    draw = np.random.default_rng(5)
    categories = {f"N{n:02}": str(draw.choice(["a", "b", "c"])) for n in range(30)}
    rows = []
    for user in range(5):
        listed = draw.permutation(sorted(categories))[: 30 if user else 4]
        scores = -np.sort(-draw.normal(size=len(listed)))
        rows += [
            (f"u{user}", place + 1, str(name), 0.5, 0.1, float(score), "vectors")
            for place, (name, score) in enumerate(zip(listed, scores, strict=True))
        ]
    ranked = frame_of(
        spark,
        rows,
        "user_id string, rank int, news_id string, cosine float, ctr double, score double, reason string",
    ).repartition(3)
    articles = frame_of(spark, list(categories.items()), "news_id string, category string")
    # U4: nothing; x: in no feed.
    clicked = [("u0", "a"), ("u0", "b"), ("u1", "c"), ("u2", "x"), ("u2", "a"), ("u2", None), ("u3", "b")]
    mix = mixes(frame_of(spark, clicked, "user_id string, category string"))
    assert {row["user_id"]: row["mix"] for row in mix.collect()}["u2"] == {"a": 0.5, "x": 0.5}
    found = calibrated_feeds(ranked, articles, mix, diversity=0.3, size=10)
    assert found.columns == ranked.columns
    kinds = ["a", "b", "c", "x"]
    for user in range(5):
        own = [row for row in rows if row[0] == f"u{user}"]
        p = np.array(
            [sum(1 for name, kind in clicked if name == f"u{user}" and kind == one) for one in kinds], float
        )
        score = np.array([row[5] for row in own])
        category = np.array([kinds.index(categories[row[2]]) for row in own])
        order = (
            greedy(relevance_of(score[None])[0], category, p / p.sum(), 0.3)
            if p.any()
            else list(range(len(own)))
        )
        got = found.where(F.col("user_id") == f"u{user}").orderBy("rank").collect()
        assert [(row["rank"], row["news_id"], row["score"]) for row in got] == [
            (place + 1, own[n][2], own[n][5]) for place, n in enumerate(order[:10])
        ]
