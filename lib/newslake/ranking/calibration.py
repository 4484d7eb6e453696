"""Feeds whose mix of categories is nearer to the reader's own: greedy calibration, in numpy and as a function
of frames.

Steck, "Calibrated recommendations", RecSys 2018: of all lists the one is looked for that has the most
relevance less the divergence KL(p || q) of the list's mix of categories q from that of what the reader has
clicked, p. One article after the other is added, always the one that brings most; the objective is
submodular, so that this comes within 1 - 1/e of the best.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEPTH = 300
"""Candidates of a reader that are looked at; those that rank below stay where they are."""
ALPHA = 0.01
"""How much of p is mixed into q, as in the paper: a category that the list lacks would else make the
divergence infinite."""
_USERS = 256  # that one call takes at once
_ROWS = "user_id string, rank int, news_id string, cosine float, ctr double, score double, reason string"


def divergence(p: Floats, q: Floats) -> Floats:
    """KL(p || q) of rows of shares (n, c), q with ALPHA of p mixed in."""
    mixed = (1.0 - ALPHA) * q + ALPHA * p
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0.0, p * np.log(p / mixed), 0.0)
    found: Floats = terms.sum(axis=1)
    return found


def calibrated(relevance: Floats, category: Ints, p: Floats, diversity: float) -> Ints:
    """The greedy order of each reader's candidates.

    At every place the candidate is taken with the largest (1 - diversity) x relevance - diversity x (KL with
    it - KL without it); ties go to the one that comes first. Only the best of each category that is left can
    be that, so that a place costs (users, categories).

    Args:
        relevance: (users, n) between 0 and 1, falling along each row; NaN where a reader has fewer
            candidates.
        category: (users, n) number of each candidate's category.
        p: (users, c) shares of the categories in what each reader has clicked.
        diversity: 0 (the order as it is) to 1 (the mix alone).

    Returns:
        (users, n) column of the candidate at each place; -1 beyond the reader's candidates.
    """
    users, width = relevance.shape
    kinds, rows = p.shape[1], np.arange(users)
    # Each category's candidates in a row, in their order, and behind them -1.
    by_kind = np.argsort(np.where(np.isnan(relevance), kinds, category), axis=1, kind="stable")
    sizes = np.zeros((users, kinds), np.int64)
    np.add.at(sizes, (np.repeat(rows, width), category.ravel()), ~np.isnan(relevance).ravel())
    start = np.cumsum(sizes, axis=1) - sizes
    taken, chosen = np.zeros_like(sizes), np.full((users, width), -1, np.int64)
    for place in range(width):
        left = taken < sizes
        if not left.any():
            break
        candidate = np.take_along_axis(by_kind, np.minimum(start + taken, width - 1), axis=1)
        worth = np.where(left, np.take_along_axis(relevance, candidate, axis=1), -np.inf)
        # With one more of category c only c's own share of q differs from that of the others: one term is
        # exchanged.
        less = (1.0 - ALPHA) * taken / (place + 1) + ALPHA * p
        more = less + (1.0 - ALPHA) / (place + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # How much smaller the divergence is with it.
            gain = np.where(p > 0.0, p * np.log(more / less), 0.0)
            value = (1.0 - diversity) * worth + diversity * gain
        best = np.where(left, value, -np.inf)
        top = best.max(axis=1)
        # Of equal values the candidate that ranks first.
        kind = np.where(left & (best >= top[:, None]), candidate, width).argmin(axis=1)
        some = left.any(axis=1)
        chosen[some, place] = candidate[some, kind[some]]
        taken[rows[some], kind[some]] += 1
    return chosen


def mixes(clicked: DataFrame) -> DataFrame:
    """What each reader clicks: user_id, mix (category -> share of the clicks).

    Args:
        clicked: user_id, category of each click; those without a category do not count.
    """
    counted = (
        clicked.where(F.col("category").isNotNull())
        .groupBy("user_id", "category")
        .agg(F.count("*").alias("clicks"))
    )
    listed = F.map_from_entries(F.sort_array(F.collect_list(F.struct("category", "clicks")))).alias("counts")
    mix = F.transform_values(
        "counts",
        lambda _, clicks: clicks / F.aggregate(F.map_values("counts"), F.lit(0.0), lambda a, b: a + b),
    )
    return counted.groupBy("user_id").agg(listed).select("user_id", mix.alias("mix"))


def calibrated_feeds(
    ranked: DataFrame, articles: DataFrame, mix: DataFrame, *, diversity: float, size: int
) -> DataFrame:
    """Feeds in the greedy order; those of readers who have clicked nothing as they are.

    Args:
        ranked: feeds as feed.ranked gives them, with more articles than `size` to choose from.
        articles: news_id, category.
        mix: from `mixes`.
        diversity: above 0, up to 1.
        size: articles of a feed.

    Returns:
        The columns of `ranked`, rank anew; `score` is what it was.
    """
    categories = articles.select("news_id", F.coalesce("category", F.lit("")).alias("category"))
    rows = ranked.join(F.broadcast(categories), on="news_id", how="inner").join(mix, on="user_id", how="left")
    whole = F.struct("rank", "news_id", "cosine", "ctr", "score", "reason", "category")
    # Many users a call, each whole: a call for each of them would cost more than its work.
    listed = rows.groupBy("user_id").agg(
        F.first("mix").alias("mix"), F.sort_array(F.collect_list(whole)).alias("feed")
    )
    return listed.mapInArrow(partial(_reordered, diversity, size), _ROWS)


def _reordered(diversity: float, size: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, _USERS):
            yield _reorder(batch.slice(start, _USERS), diversity, size)


def _reorder(users: pa.RecordBatch, diversity: float, size: int) -> pa.RecordBatch:
    """user_id, mix and feed (by rank) of some users -> their feeds' rows."""
    feed, mix = users.column("feed"), users.column("mix")
    flat, counts = feed.flatten(), pc.list_value_length(feed).to_numpy().astype(np.int64)
    row, first = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts) - counts
    column = np.arange(len(row)) - first[row]
    # A map's keys and values are not cut by a slice: its offsets say which are of these users.
    ends = mix.offsets.to_numpy().astype(np.int64)
    keys, shares = (part.slice(ends[0], ends[-1] - ends[0]) for part in (mix.keys, mix.items))
    names = pa.concat_arrays([keys, flat.field("category")]).dictionary_encode()
    number = names.indices.to_numpy().astype(np.int64)
    p = np.zeros((len(counts), len(names.dictionary)))
    p[np.repeat(np.arange(len(counts)), np.diff(ends)), number[: len(keys)]] = shares.to_numpy(
        zero_copy_only=False
    )
    width = min(int(counts.max()), DEPTH)
    score, category = np.full((len(counts), width), np.nan), np.zeros((len(counts), width), np.int64)
    near = column < width
    score[row[near], column[near]] = flat.field("score").to_numpy(zero_copy_only=False)[near]
    category[row[near], column[near]] = number[len(keys) :][near]
    order = calibrated(relevance_of(score), category, p, diversity)[:, :size]
    user, place = np.nonzero(order >= 0)
    if size > width:  # what ranks below what was looked at
        rest = (column >= width) & (column < size)
        user, place = np.concatenate([user, row[rest]]), np.concatenate([place, column[rest]])
        chosen = np.concatenate([order[order >= 0], column[rest]])
    else:
        chosen = order[order >= 0]
    taken = flat.take(pa.array(first[user] + chosen))
    columns = {
        "user_id": users.column("user_id").take(pa.array(user)),
        "rank": pa.array((place + 1).astype(np.int32)),
    }
    columns |= {name: taken.field(name) for name in ("news_id", "cosine", "ctr", "score", "reason")}
    return pa.RecordBatch.from_pydict(columns)


def relevance_of(score: Floats) -> Floats:
    """Scores (users, n) between 0 and 1: the best of each reader's 1, the worst 0; 1 where all are the same.
    NaN stays."""
    low, high = (edge(score, axis=1, keepdims=True) for edge in (np.nanmin, np.nanmax))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(
            high > low, (score - low) / (high - low), np.where(np.isnan(score), np.nan, 1.0)
        )
    return found
