"""Ranking metrics per impression, computed for all impressions at once with numpy: no Python loop over
impressions.

AUC, MRR and nDCG@k as MIND's evaluation defines them (https://github.com/msnews/MIND, evaluate.py): MRR is
the sum of the clicked candidates' reciprocal ranks over their number; gains are 2^label - 1, discounts
log2(rank + 1).

MIND's script breaks ties by the order in which argsort happens to leave them. Here every metric is its
expected value when tied candidates are put in random order: for AUC and nDCG that is what scikit-learn's
roc_auc_score and ndcg_score return; where there are no ties it is MIND's own value.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImpressionMetrics:
    """The metrics of every impression that has both labels; all arrays are as long as `impression`.

    Attributes:
        impression: place (from 0) of the impression among all those given, ascending.
        left_out: impressions without both a click and a skip, which have no AUC.
    """

    impression: npt.NDArray[np.int64]
    auc: Floats
    mrr: Floats
    ndcg_at_5: Floats
    ndcg_at_10: Floats
    left_out: int

    def mean(self) -> "RankingMetrics":
        """Means over the impressions; None for each where there is no impression."""
        count = len(self.impression)

        def mean(values: Floats) -> float | None:
            return float(values.mean()) if count else None

        return RankingMetrics(
            auc=mean(self.auc),
            mrr=mean(self.mrr),
            ndcg_at_5=mean(self.ndcg_at_5),
            ndcg_at_10=mean(self.ndcg_at_10),
            impressions=count,
            impressions_left_out=self.left_out,
        )


@dataclass(frozen=True)
class RankingMetrics:
    """Means over impressions, under the names of the table model_metrics."""

    auc: float | None
    mrr: float | None
    ndcg_at_5: float | None
    ndcg_at_10: float | None
    impressions: int
    impressions_left_out: int


def impression_metrics(
    scores: npt.ArrayLike, labels: npt.ArrayLike, offsets: npt.ArrayLike
) -> ImpressionMetrics:
    """AUC, MRR, nDCG@5 and nDCG@10 of each impression.

    Args:
        scores: (n,) floats; a higher score ranks a candidate higher. float32 takes a faster path.
        labels: (n,) 1 or True for a click, 0 or False for a skip.
        offsets: (impressions + 1,) ascending, from 0 to n: impression i is the candidates offsets[i] to
            offsets[i + 1].

    Raises:
        ValueError: shapes that do not match, offsets that do not cover the candidates, a label other than 0
            and 1, a NaN.
    """
    scores, clicked, offsets = _checked(
        np.asarray(scores), np.asarray(labels), np.asarray(offsets, dtype=np.int64)
    )
    sizes = np.diff(offsets)
    clicks = _sums(clicked, offsets)
    usable = (clicks > 0) & (clicks < sizes)
    left_out = int(len(sizes) - usable.sum())
    impression = np.flatnonzero(usable)
    if not usable.all():
        keep = np.repeat(usable, sizes)
        scores, clicked, sizes, clicks = scores[keep], clicked[keep], sizes[usable], clicks[usable]
    if not len(sizes):
        none = np.empty(0)
        return ImpressionMetrics(impression, none, none, none, none, left_out)

    starts = np.cumsum(sizes) - sizes
    clicked, new_group = _ranked(scores, clicked, sizes)
    # A group is a run of candidates of one impression with equal scores; without ties, one candidate.
    group_start = np.flatnonzero(new_group)
    group_size = np.diff(group_start, append=len(clicked))
    group_clicks = np.add.reduceat(clicked, group_start, dtype=np.int64)
    group_impression = np.repeat(np.arange(len(sizes)), sizes)[group_start]
    rank = group_start - starts[group_impression]  # candidates of the impression that rank above the group

    clicks_to_here = np.cumsum(group_clicks)
    clicks_before = np.cumsum(clicks) - clicks
    clicks_up_to_group = clicks_to_here - clicks_before[group_impression]
    skips = sizes - clicks
    skips_below = skips[group_impression] - (rank + group_size - clicks_up_to_group)
    wins = group_clicks * (skips_below + 0.5 * (group_size - group_clicks))

    longest = int(sizes.max())
    ranks = np.arange(1, longest + 1, dtype=np.float64)
    share = group_clicks / group_size

    def of_impression(values: Floats) -> Floats:
        return np.bincount(group_impression, weights=values, minlength=len(sizes)).astype(
            np.float64, copy=False
        )

    def gained(per_rank: Floats) -> Floats:
        """Sum over ranks of `per_rank`, each rank of a group counted with the group's share of clicks."""
        total = np.concatenate(([0.0], np.cumsum(per_rank)))
        return of_impression(share * (total[rank + group_size] - total[rank]))

    def ndcg(k: int) -> Floats:
        discounts = np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)
        best = np.concatenate(([0.0], np.cumsum(discounts)))[clicks]
        return gained(discounts) / best

    return ImpressionMetrics(
        impression=impression,
        auc=of_impression(wins) / (clicks * skips),
        mrr=gained(1.0 / ranks) / clicks,
        ndcg_at_5=ndcg(5),
        ndcg_at_10=ndcg(10),
        left_out=left_out,
    )


def _checked(
    scores: npt.NDArray[Any], labels: npt.NDArray[Any], offsets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be two arrays of one length")
    if (
        offsets.ndim != 1
        or len(offsets) < 1
        or offsets[0] != 0
        or offsets[-1] != len(scores)
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError(f"offsets must ascend from 0 to the number of candidates, {len(scores)}")
    clicked = labels.astype(np.uint8)
    if (clicked > 1).any() or (clicked != labels).any():
        raise ValueError("labels must be 0 or 1")
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN, so there is no ranking")
    return scores, clicked, offsets


def _sums(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    # Differences of a running sum, since reduceat gives an empty slice the next slice's first value.
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)))[offsets]
    return running[1:] - running[:-1]


def _ranked(
    scores: npt.NDArray[Any], clicked: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Labels by impression and descending score, and where each run of equal scores in one impression
    begins."""
    impression = np.repeat(np.arange(len(sizes), dtype=np.uint64), sizes)
    new_group = np.ones(len(scores), dtype=bool)
    if scores.dtype == np.float32 and len(sizes) < 2**31:
        # One sort of integers that hold impression, score and label, about three times as fast as lexsort: as
        # unsigned integers, floats sort as their values do once the negative ones' bits are flipped and the
        # others' sign bit is set.
        bits = (scores + np.float32(0.0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
        ascending = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
        keys = (impression << np.uint64(33)) | ((~ascending).astype(np.uint64) << np.uint64(1)) | clicked
        keys.sort()
        new_group[1:] = (keys[1:] >> np.uint64(1)) != (keys[:-1] >> np.uint64(1))
        return (keys & np.uint64(1)).astype(np.uint8), new_group
    order = np.lexsort((-scores, impression))
    scores = scores[order]
    new_group[1:] = (scores[1:] != scores[:-1]) | (impression[1:] != impression[:-1])
    return clicked[order], new_group
