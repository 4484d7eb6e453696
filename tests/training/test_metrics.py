"""Ranking metrics against scikit-learn, MIND's own definitions, and a count over all orders of tied
candidates."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from newslake.training.metrics import ImpressionMetrics, impression_metrics

TOLERANCE = 1e-9


def mind_mrr(labels: Any, scores: Any) -> float:
    """MIND's mrr_score: sum of reciprocal ranks of the clicks over their number."""
    ranked = np.asarray(labels)[np.argsort(scores)[::-1]]
    return float(np.sum(ranked / np.arange(1, len(ranked) + 1)) / np.sum(ranked))


def mind_dcg(labels: Any, scores: Any, k: int) -> float:
    ranked = np.asarray(labels)[np.argsort(scores)[::-1]][:k]
    return float(np.sum((2.0**ranked - 1) / np.log2(np.arange(len(ranked)) + 2)))


def mind_ndcg(labels: Any, scores: Any, k: int) -> float:
    return mind_dcg(labels, scores, k) / mind_dcg(labels, labels, k)


def offsets_of(impressions: Any) -> np.ndarray:
    return np.concatenate(([0], np.cumsum([len(labels) for labels, _ in impressions]))).astype(np.int64)


def measured(impressions: Any, dtype: Any = np.float64) -> ImpressionMetrics:
    scores = np.concatenate([np.asarray(scores, dtype) for _, scores in impressions])
    labels = np.concatenate([np.asarray(labels) for labels, _ in impressions])
    return impression_metrics(scores, labels, offsets_of(impressions))


def has_both(labels: Any) -> bool:
    return 0 < sum(labels) < len(labels)


@st.composite
def impressions(draw: st.DrawFn, distinct: bool, max_candidates: int = 30) -> list[Any]:
    """Lists of (labels, scores), with or without ties within an impression; some lack one of the labels."""
    found = []
    for _ in range(draw(st.integers(1, 8))):
        n = draw(st.integers(1, max_candidates))
        labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
        values = st.floats(-1e3, 1e3, width=32) if distinct else st.sampled_from([-1.5, -0.0, 0.0, 0.25, 7.0])
        found.append((labels, draw(st.lists(values, min_size=n, max_size=n, unique=distinct))))
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_metrics_equal_scikit_learn_and_mind_without_ties(dtype: Any, data: st.DataObject) -> None:
    given_impressions = data.draw(impressions(distinct=True))
    found = measured(given_impressions, dtype)
    expected = [i for i, (labels, _) in enumerate(given_impressions) if has_both(labels)]
    assert found.impression.tolist() == expected
    assert found.left_out == len(given_impressions) - len(expected)
    for place, i in enumerate(expected):
        labels, scores = given_impressions[i]
        assert found.auc[place] == pytest.approx(roc_auc_score(labels, scores), abs=TOLERANCE)
        assert found.mrr[place] == pytest.approx(mind_mrr(labels, scores), abs=TOLERANCE)
        for ours, k in ((found.ndcg_at_5, 5), (found.ndcg_at_10, 10)):
            assert ours[place] == pytest.approx(mind_ndcg(labels, scores, k), abs=TOLERANCE)
            assert ours[place] == pytest.approx(ndcg_score([labels], [scores], k=k), abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_ties_are_averaged_as_scikit_learn_averages_them(dtype: Any, data: st.DataObject) -> None:
    given_impressions = data.draw(impressions(distinct=False))
    found = measured(given_impressions, dtype)
    for place, i in enumerate(found.impression):
        labels, scores = given_impressions[i]
        assert found.auc[place] == pytest.approx(roc_auc_score(labels, scores), abs=TOLERANCE)
        assert found.ndcg_at_5[place] == pytest.approx(ndcg_score([labels], [scores], k=5), abs=TOLERANCE)
        assert found.ndcg_at_10[place] == pytest.approx(ndcg_score([labels], [scores], k=10), abs=TOLERANCE)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_mrr_with_ties_is_the_mean_over_every_order_of_the_tied(data: st.DataObject) -> None:
    given_impressions = data.draw(impressions(distinct=False, max_candidates=6))
    found = measured(given_impressions)
    for place, i in enumerate(found.impression):
        labels, scores = given_impressions[i]
        orders = [
            order
            for order in itertools.permutations(range(len(labels)))
            if is_descending([scores[j] for j in order])
        ]
        every = [mind_mrr([labels[j] for j in order], -np.arange(len(order))) for order in orders]
        assert found.mrr[place] == pytest.approx(np.mean(every), abs=TOLERANCE)


def is_descending(values: Any) -> bool:
    return all(left >= right for left, right in itertools.pairwise(values))


def test_many_impressions_have_the_means_of_a_loop_of_scikit_learn() -> None:
    random = np.random.default_rng(5)
    sizes = random.integers(0, 80, 500)  # an impression may have no candidate left
    given_impressions = [(random.random(n) < 0.15, random.normal(size=n).round(1)) for n in sizes]
    found = measured(given_impressions).mean()
    usable = [(labels, scores) for labels, scores in given_impressions if has_both(labels)]
    assert found.impressions == len(usable)
    assert found.impressions_left_out == 500 - len(usable)
    assert found.auc == pytest.approx(
        np.mean([roc_auc_score(labels, scores) for labels, scores in usable]), abs=TOLERANCE
    )
    assert found.ndcg_at_10 == pytest.approx(
        np.mean([ndcg_score([labels], [scores], k=10) for labels, scores in usable]), abs=TOLERANCE
    )


def test_scores_of_one_impression_do_not_reach_into_another() -> None:
    alone = measured([([0, 1, 0], [0.1, 0.2, 0.3])])
    beside = measured([([1, 0], [9.0, -9.0]), ([0, 1, 0], [0.1, 0.2, 0.3]), ([1, 0], [-9.0, 9.0])])
    assert beside.auc.tolist() == [1.0, alone.auc[0], 0.0]
    assert beside.mrr[1] == alone.mrr[0] == 0.5


def test_without_a_usable_impression_there_is_no_mean() -> None:
    found = impression_metrics([0.5, 0.5, 0.1], [1, 1, 0], [0, 2, 2, 3]).mean()
    assert (found.auc, found.mrr, found.ndcg_at_5, found.ndcg_at_10) == (None, None, None, None)
    assert (found.impressions, found.impressions_left_out) == (0, 3)
    assert impression_metrics([], [], [0]).mean().impressions_left_out == 0


@pytest.mark.parametrize(
    ("scores", "labels", "offsets", "message"),
    [
        ([0.1, 0.2], [1], [0, 2], "one length"),
        ([0.1, 0.2], [1, 0], [0, 1], "ascend from 0"),
        ([0.1, 0.2], [1, 0], [0, 2, 1, 2], "ascend from 0"),
        ([0.1, 0.2], [2, 0], [0, 2], "0 or 1"),
        ([0.1, 0.2], [0.5, 0], [0, 2], "0 or 1"),
        ([0.1, float("nan")], [1, 0], [0, 2], "NaN"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores: Any, labels: Any, offsets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        impression_metrics(scores, labels, offsets)
