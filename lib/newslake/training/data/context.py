"""What is known of a candidate at the moment it is shown: how it was received until then, and how old it is.

Strictly before: a click counts for later moments only, never for the impression it came from nor for others
of the same time.
"""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from newslake.errors import UserError

FEATURES = ("popularity", "age")
# Clicks and impressions that stand in for what is not known yet: the share of clicks among MIND's candidates
# is about 4 %.
PRIOR_SHOWN, PRIOR_SHARE = 25.0, 0.04
_ROUNDS = 50


def moments(impressions: DataFrame, news: DataFrame) -> DataFrame:
    """popularity and age of every candidate at its moment.

    Args:
        impressions: split, impression_id, position, news_id, occurred_at, clicked (NULL counts as shown).
        news: news_id, published_at.

    Returns:
        split, impression_id, position, news_id; popularity: log of the smoothed share of clicks among the
            showings before, over the
        prior's; age: log of 1 + hours since publication, 0 where that is unknown or in the future.
    """
    micros = F.unix_micros("occurred_at")
    before = Window.partitionBy("news_id").orderBy(micros).rangeBetween(Window.unboundedPreceding, -1)
    clicks = F.coalesce(F.sum(F.coalesce("clicked", F.lit(False)).cast("int")).over(before), F.lit(0))
    shown = F.coalesce(F.count(F.lit(1)).over(before), F.lit(0))
    share = (clicks + PRIOR_SHOWN * PRIOR_SHARE) / (shown + PRIOR_SHOWN)
    hours = (micros - F.unix_micros("published_at")) / 3.6e9
    with_news = impressions.join(news.select("news_id", "published_at"), on="news_id", how="left")
    return with_news.select(
        "split",
        "impression_id",
        "position",
        "news_id",
        F.log(share / PRIOR_SHARE).alias("popularity"),
        F.coalesce(F.log1p(F.greatest(hours, F.lit(0.0))), F.lit(0.0)).alias("age"),
    )


def beside_candidates(lists: DataFrame, article_index: DataFrame, known: DataFrame) -> DataFrame:
    """The features of every impression's candidates, in their order.

    Args:
        lists: impression_key, split, impression_id, articles (array<int>).
        article_index: news_id, article.
        known: from `moments`.

    Returns:
        impression_key, popularity, age (array<double>, one number for each of `articles`).
    """
    # A candidate shown twice in one list has the same features twice.
    once = known.groupBy("split", "impression_id", "news_id").agg(
        *(F.max(name).alias(name) for name in FEATURES)
    )
    shown = lists.select(
        "impression_key", "split", "impression_id", F.posexplode("articles").alias("place", "article")
    )
    found = shown.join(article_index, on="article", how="inner").join(
        once, on=["split", "impression_id", "news_id"], how="left"
    )
    values = F.array_sort(
        F.collect_list(F.struct("place", *(F.coalesce(name, F.lit(0.0)).alias(name) for name in FEATURES)))
    )
    in_order = found.groupBy("impression_key").agg(values.alias("values"))
    return in_order.select("impression_key", *(F.col(f"values.{name}").alias(name) for name in FEATURES))


def weighed(scored: DataFrame, features: DataFrame, weights: npt.NDArray[np.float64]) -> DataFrame:
    """`scored` (impression_key, scores, ...) with the features of `beside_candidates` added to its scores by
    their weights."""
    of_score, of_popularity, of_age = (float(weight) for weight in weights)
    together = F.arrays_zip("scores", *FEATURES)
    total = F.transform(
        together, lambda x: x["scores"] * of_score + x["popularity"] * of_popularity + x["age"] * of_age
    )
    return (
        scored.join(features, on="impression_key", how="inner")
        .withColumn("scores", total.cast("array<double>"))
        .drop(*FEATURES)
    )


def fitted(scored: DataFrame, features: DataFrame) -> npt.NDArray[np.float64]:
    """(3,) weights of score, popularity and age, by `fit_weights` on these impressions, which must be few
    (they are collected).

    Args:
        scored: impression_key, scores, labels. Impressions that no model of these scores was trained on.
        features: from `beside_candidates`.

    Raises:
        UserError: none of them has both a click and a skip, so that they tell nothing.
    """
    rows = (
        scored.select("impression_key", "scores", "labels")
        .join(features, on="impression_key", how="inner")
        .toArrow()
    )
    columns = {name: rows[name].combine_chunks() for name in ("scores", *FEATURES, "labels")}
    lengths = pc.list_value_length(columns["scores"]).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = {name: pc.list_flatten(column).to_numpy(zero_copy_only=False) for name, column in columns.items()}
    owner = np.repeat(np.arange(len(lengths)), lengths)
    clicks = np.bincount(owner, weights=flat["labels"], minlength=len(lengths))
    if not ((clicks > 0) & (clicks < lengths)).any():
        raise UserError(
            f"--context: of the {len(lengths):,} impressions to fit its weights on, none has both a click and"
            " a skip: judge by more impressions, or leave out --context"
        )
    values = np.stack([flat[name].astype(np.float64) for name in ("scores", *FEATURES)], axis=1)
    return fit_weights(values, flat["labels"], np.concatenate(([0], np.cumsum(lengths))))


def fit_weights(
    features: npt.NDArray[np.float64], labels: npt.NDArray[np.int8], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Weights by which features decide clicks: a conditional logit (McFadden 1974), by Newton's method.

    Each click is a choice among itself and its impression's skips. A ridge, of one on the weights of features
    scaled to vary by 1 within impressions, bounds the weights where there are few clicks, and keeps features
    that never vary at 0.

    Args:
        features: (candidates, k), the model's score among them.
        labels: (candidates,) 1 for a click.
        offsets: (impressions + 1,) see data.Impressions.

    Returns:
        (k,) weights.
    """
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    clicks = np.bincount(owner, weights=labels, minlength=len(offsets) - 1)
    scale = _spread_within(features, owner)
    features = features / scale
    weights = np.zeros(features.shape[1])
    for _ in range(_ROUNDS):
        utility = features @ weights
        highest = np.full(len(clicks), -np.inf)
        np.maximum.at(highest, owner, utility)
        chance = np.exp(utility - highest[owner])
        chance /= np.bincount(owner, weights=chance, minlength=len(clicks))[owner]
        mean = np.stack(
            [np.bincount(owner, weights=chance * column, minlength=len(clicks)) for column in features.T],
            axis=1,
        )
        spread = features - mean[owner]
        gradient = ((labels - clicks[owner] * chance)[:, None] * features).sum(axis=0) - weights
        curvature = (spread * (clicks[owner] * chance)[:, None]).T @ spread + np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    found: npt.NDArray[np.float64] = weights / scale
    return found


def _spread_within(
    features: npt.NDArray[np.float64], owner: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(k,) standard deviation of features among the candidates of an impression; 1 where they never vary."""
    sizes = np.bincount(owner)
    means = (
        np.stack([np.bincount(owner, weights=column) for column in features.T], axis=1)
        / np.maximum(sizes, 1)[:, None]
    )
    spread = np.sqrt(np.mean((features - means[owner]) ** 2, axis=0))
    return np.where(spread > 1e-12, spread, 1.0)
