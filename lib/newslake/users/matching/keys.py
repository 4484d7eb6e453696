"""Keys under which similar sets meet: XOR hashes of subsets, as few as each pair of sizes needs. numpy, no
Spark.

Sets of a and b tags have Jaccard similarity s / (a + b - s) where they share s. So at a threshold each pair
of sizes has a least number of shared tags, and two sets that share it have a subset of that size in common:
the set itself with some tags deleted. Where both sets have few such subsets, their hashes are the keys
("subset" keys): sets that meet under one share at least that many tags, so every meeting is a match. At 0.8,
4 tags and 5, or 8 and 9, differ by one tag, 9 and 9 by one exchanged.

Where the subsets are many (large sets, low thresholds), tags are put into one order for all sets, rare ones
first. Two sets that share s tags share k of them among the first a - s + k and b - s + k tags, so the
k-subsets of these prefixes are the keys ("prefix" keys; k = 1 is the prefix filter of Chaudhuri, Ganti and
Kaushik, ICDE 2006; larger k as in Wang, Li and Feng, SIGMOD 2012). A meeting is then only a candidate.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Hashes = np.ndarray[Any, np.dtype[np.int64]]
Family = Literal["subset", "prefix"]

MOST_SUBSETS = 100
"""Keys that one set may have at one level. 100 lets all sets of up to 14 tags meet by subsets at 0.8."""
SIZE_BITS = 12
"""A key's shape is (tags of the set) << SIZE_BITS | (tags of the subset)."""
_MOST_AT_ONCE = 1 << 20  # keys in one Arrow batch


def least_shared(a: int, b: int, threshold: float) -> int | None:
    """The fewest shared tags at which sets of a and b tags reach the threshold; None where they never do."""
    for shared in range(max(1, int(threshold * (a + b) / (1.0 + threshold)) - 1), min(a, b) + 1):
        if shared / (a + b - shared) >= threshold:
            return shared
    return None


@dataclass(frozen=True)
class KeyPlan:
    """Which keys the sets of one side get.

    Attributes:
        levels: by number of tags, pairs (k, p): the keys are the hashes of all k-subsets of the first p tags.
        common: hashes of the commonest tags, the commonest last; every other tag comes before them in the
            order. Only prefix keys depend on it.
        bits: of a key that are used; fewer than 64 make keys collide, as tests want them to.
    """

    levels: Mapping[int, tuple[tuple[int, int], ...]]
    common: tuple[int, ...] = field(default=(), repr=False)
    bits: int = 64

    def keys_per_set(self, size: int) -> int:
        """How many keys a set of `size` tags gets."""
        return sum(comb(first, k) for k, first in self.levels.get(size, ()))

    def keys(self, sizes: Mapping[int, int]) -> int:
        """How many keys there are for so many sets of each size."""
        return sum(sets * self.keys_per_set(size) for size, sets in sizes.items())


def key_plan(
    family: Family, threshold: float, own: Iterable[int], others: Iterable[int], most: int = MOST_SUBSETS
) -> KeyPlan:
    """The keys that sets of the sizes `own` need to meet those of the sizes `others`, at the threshold, in
    one family.

    Every pair of sizes that can reach the threshold is in exactly one family, the same seen from either side.
    Subset keys are made at each number of shared tags from the least on, so that a pair also meets at the
    very number it shares (but for equal sets, which meet by set_hash).
    """
    theirs = sorted(set(others))
    levels: dict[int, tuple[tuple[int, int], ...]] = {}
    for a in sorted(set(own)):
        found: dict[int, int] = {}
        for b in theirs:
            least = least_shared(a, b, threshold)
            if least is None or ("subset" if _few_subsets(a, b, least, most) else "prefix") != family:
                continue
            if family == "subset":
                found.update({k: a for k in range(least, min(a, b) + 1) if not k == a == b})
            else:
                k = min(least, _prefix_subset(max(a, b), threshold, most))
                found[k] = max(found.get(k, 0), a - least + k)
        if found:
            levels[a] = tuple(sorted(found.items()))
    return KeyPlan(levels)


def _few_subsets(a: int, b: int, least: int, most: int) -> bool:
    return all(comb(size, shared) <= most for size in (a, b) for shared in range(least, min(a, b) + 1))


@lru_cache(maxsize=10_000)
def _prefix_subset(larger: int, threshold: float, most: int) -> int:
    """k for pairs whose larger set has so many tags: more means fewer candidates and more keys."""
    fewest = next(b for b in range(1, larger + 1) if least_shared(larger, b, threshold) is not None)
    spare = larger - fewest
    return next(k for k in (4, 3, 2, 1) if k == 1 or comb(spare + k, k) <= most)


def subset_hashes(hashes: Hashes, k: int) -> Hashes:
    """XOR of every k-subset of each row: [n, p] -> [n, C(p, k)]."""
    p = hashes.shape[1]
    if 2 * k > p:  # fewer to take away than to put in
        whole = np.bitwise_xor.reduce(hashes, axis=1)[:, None]
        return whole if k == p else whole ^ _xor_of(hashes, p - k)
    return _xor_of(hashes, k)


def _xor_of(hashes: Hashes, k: int) -> Hashes:
    chosen = _combinations(hashes.shape[1], k)
    found = hashes[:, chosen[0]]
    for column in chosen[1:]:
        found = found ^ hashes[:, column]
    return found


@lru_cache(maxsize=1_000)
def _combinations(n: int, k: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """All k-subsets of 0 .. n - 1 as columns: [k, C(n, k)]."""
    return np.array(list(combinations(range(n), k)), dtype=np.int64).T.copy()


def rare_first(hashes: Hashes, common: tuple[int, ...]) -> Hashes:
    """Each row's tags in the order of prefix keys: those that are not common by hash, then the common ones,
    commonest last."""
    if not common:
        return np.sort(hashes, axis=1)
    known, ranks = _sorted_common(common)
    place = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    rank = np.where(known[place] == hashes, ranks[place], -1)
    return np.take_along_axis(hashes, np.lexsort((hashes, rank), axis=1), axis=1)


@lru_cache(maxsize=2)
def _sorted_common(common: tuple[int, ...]) -> tuple[Hashes, Hashes]:
    given = np.array(common, dtype=np.int64)
    order = np.argsort(given)
    return given[order], order


def keys_of_batches(
    plan: KeyPlan, family: Family, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What runs in the workers: (set_hash, hashes) in, (key, set_hash, shape) out; see SIZE_BITS for
    shape."""
    for batch in batches:
        ids = batch.column("set_hash").to_numpy(zero_copy_only=False)
        lists = batch.column("hashes")
        starts, values = lists.offsets.to_numpy(), lists.values.to_numpy(zero_copy_only=False)
        lengths = np.diff(starts)
        for size in np.unique(lengths).tolist():
            levels = plan.levels.get(size, ())
            if not levels:
                continue
            rows = np.flatnonzero(lengths == size)
            tags = values[starts[rows][:, None] + np.arange(size)]
            if family == "prefix":
                tags = rare_first(tags, plan.common)
            for k, first in levels:
                yield from _as_batches(tags[:, :first], ids[rows], k, size << SIZE_BITS | k, plan.bits)


def _as_batches(tags: Hashes, ids: Hashes, k: int, shape: int, bits: int) -> Iterator[pa.RecordBatch]:
    step = max(1, _MOST_AT_ONCE // comb(tags.shape[1], k))
    for start in range(0, len(tags), step):
        keys = subset_hashes(tags[start : start + step], k)
        if bits < 64:
            keys = keys & ((1 << bits) - 1)
        many = keys.shape[1]
        columns = [
            keys.reshape(-1),
            np.repeat(ids[start : start + step], many),
            np.full(keys.size, shape, dtype=np.int32),
        ]
        yield pa.RecordBatch.from_arrays(
            [pa.array(column) for column in columns], names=["key", "set_hash", "shape"]
        )
