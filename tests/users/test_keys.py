"""The keys of the exact matcher, without Spark: similar sets always meet, and no more keys are made than are
needed."""

from itertools import combinations
from math import comb

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newslake.users.matching.keys import (
    SIZE_BITS,
    Family,
    KeyPlan,
    key_plan,
    keys_of_batches,
    least_shared,
    rare_first,
    subset_hashes,
)

thresholds = st.one_of(st.sampled_from([0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 1.0]), st.floats(0.5, 1.0))


def batch(sets: list[list[int]]) -> pa.RecordBatch:
    """Sets as the workers get them: sorted hashes, set_hash their XOR."""
    hashed = [sorted(one) for one in sets]
    ids = [int(np.bitwise_xor.reduce(np.array(one, dtype=np.int64))) for one in hashed]
    return pa.RecordBatch.from_arrays(
        [pa.array(ids, pa.int64()), pa.array(hashed, pa.list_(pa.int64()))], names=["set_hash", "hashes"]
    )


def keys_of(plan: KeyPlan, family: Family, tags: list[int]) -> set[tuple[int, int]]:
    """(key, tags in the subset) of one set."""
    found = list(keys_of_batches(plan, family, [batch([tags])]))
    pairs = [pair for b in found for pair in zip(b["key"].to_pylist(), b["shape"].to_pylist(), strict=True)]
    return {(key, shape & ((1 << SIZE_BITS) - 1)) for key, shape in pairs}


def numbers(size: int, seed: int) -> list[int]:
    """Distinct random 64-bit hashes."""
    return np.random.default_rng(seed).integers(-(2**63), 2**63, size).tolist()


@given(st.integers(1, 40), st.integers(1, 40), thresholds)
def test_least_shared_is_the_least(a: int, b: int, threshold: float) -> None:
    reaching = [s for s in range(1, min(a, b) + 1) if s / (a + b - s) >= threshold]
    assert least_shared(a, b, threshold) == (reaching[0] if reaching else None)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 24),
    st.integers(0, 8),
    st.integers(0, 8),
    thresholds,
    st.integers(1, 120),
    st.integers(0, 10**6),
    st.data(),
)
def test_sets_that_are_alike_meet_in_one_family(
    shared: int, ours: int, theirs: int, threshold: float, most: int, seed: int, data: st.DataObject
) -> None:
    tags = numbers(shared + ours + theirs, seed)
    a, b = tags[: shared + ours], tags[:shared] + tags[shared + ours :]
    if not shared or not len(a) or shared / len(tags) < threshold or a == b:
        return
    common = tuple(data.draw(st.permutations(tags)))[: data.draw(st.integers(0, len(tags)))]
    met = []
    for family in ("subset", "prefix"):
        plans = [key_plan(family, threshold, [x], [y], most) for x, y in ((len(a), len(b)), (len(b), len(a)))]
        plans = [KeyPlan(plan.levels, common) for plan in plans]
        both = keys_of(plans[0], family, a) & keys_of(plans[1], family, b)
        assert bool(plans[0].levels) == bool(plans[1].levels)
        if both:
            met.append(family)
        if family == "subset" and both:
            assert max(k for _, k in both) == shared, "they meet at the very number of tags that they share"
    assert len(met) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_subset_hashes_are_those_of_all_subsets(size: int, k: int, seed: int) -> None:
    k = min(k, size)
    tags = np.array([numbers(size, seed), numbers(size, seed + 1)], dtype=np.int64)
    found = subset_hashes(tags, k)
    assert found.shape == (2, comb(size, k))
    for row in range(2):
        expected = [int(np.bitwise_xor.reduce(np.array(one))) for one in combinations(tags[row].tolist(), k)]
        assert sorted(found[row].tolist()) == sorted(expected)


def test_rare_tags_come_first() -> None:
    tags = np.array([[1, 2, 3, 4], [4, 3, 9, 8]])
    assert rare_first(tags, ()).tolist() == [[1, 2, 3, 4], [3, 4, 8, 9]]
    assert rare_first(tags, (3, 1)).tolist() == [[2, 4, 3, 1], [4, 8, 9, 3]]


@pytest.mark.parametrize(("size", "keys"), [(3, 0), (4, 1), (5, 6), (8, 9), (9, 10), (10, 55)])
def test_at_the_usual_threshold_few_keys_do(size: int, keys: int) -> None:
    """0.8 and sets of 1 to 10 tags: the set itself, or with one tag less, and of 10 tags with two less (8 and
    10 match)."""
    plan = key_plan("subset", 0.8, range(1, 11), range(1, 11))
    assert plan.keys_per_set(size) == keys
    assert plan.keys({size: 7}) == 7 * keys
    assert not key_plan("prefix", 0.8, range(1, 11), range(1, 11)).levels
    assert plan.keys_per_set(2) == 0


def test_batches_are_bounded_and_empty_ones_pass() -> None:
    plan = key_plan("subset", 0.8, [10], [8, 9, 10])
    sets = [numbers(10, seed) for seed in range(50)] + [numbers(3, 99)]
    found = list(keys_of_batches(plan, "subset", [batch([]), batch(sets), batch(sets).slice(49, 2)]))
    assert sum(b.num_rows for b in found) == 51 * plan.keys_per_set(10)
