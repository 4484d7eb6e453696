"""Skips drawn by hashes: distinct, uniform, and each click's own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from newslake.training.data.sampling import draws, mixed, without_replacement


@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=50),
    count=st.integers(1, 8),
    key=st.integers(-(2**63), 2**64 - 1),
)
@settings(max_examples=200, deadline=None)
def test_places_are_distinct_within_the_list_and_as_many_as_there_are(
    lengths: list[int], count: int, key: int
) -> None:
    ids = np.arange(len(lengths), dtype=np.int64) - 3
    places, drawn = without_replacement(draws(key, ids, count), np.array(lengths, dtype=np.int32))
    assert drawn.sum(axis=1).tolist() == [min(count, length) for length in lengths]
    for row, taken, length in zip(places, drawn, lengths, strict=True):
        found = row[taken].tolist()
        assert len(set(found)) == len(found)
        assert all(0 <= place < length for place in found)


def test_each_set_of_places_is_as_likely_as_any_other() -> None:
    n = 60_000
    places, _ = without_replacement(draws(mixed(1, 2), np.arange(n, dtype=np.int64), 2), np.full(n, 5))
    pairs, counts = np.unique(np.sort(places, axis=1), axis=0, return_counts=True)
    assert len(pairs) == 10
    expected = n / 10
    # Chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand; the draws are fixed, so this
    # cannot flicker.
    assert ((counts - expected) ** 2 / expected).sum() < 27.9


def test_a_click_draws_the_same_whatever_it_comes_with() -> None:
    ids = np.array([7, -5, 2**62], dtype=np.int64)
    together, alone = draws(99, ids, 4), draws(99, ids[1:2], 4)
    assert (together[1] == alone[0]).all()
    assert (draws(100, ids, 4) != together).all()


def test_near_seeds_and_epochs_give_unrelated_keys() -> None:
    keys = {mixed(seed, epoch) for seed in range(50) for epoch in range(50)}
    assert len(keys) == 2500
    assert mixed(1, 2) != mixed(2, 1)
    assert mixed(-1, 1) != mixed(1, 1)
