"""Skips drawn per click by hashes of (seed, epoch, click): the same click draws the same skips in whichever
batch it comes."""

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def mixed(*numbers: int) -> int:
    """One 64-bit number out of several, such as a seed and an epoch; near ones give unrelated results."""
    state = np.zeros(1, dtype=np.uint64)
    for number in numbers:
        state = _splitmix(state ^ np.uint64(number & _MASK))
    return int(state[0])


def draws(key: int, ids: npt.NDArray[np.int64], count: int) -> UInt64:
    """(n, count) uniform 64-bit numbers that depend on the key, each id and the place alone."""
    start = _splitmix(ids.astype(np.uint64, copy=False) ^ np.uint64(key & _MASK))
    with np.errstate(over="ignore"):
        places = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    return _splitmix(start[:, None] + places[None, :])


def without_replacement(
    random: UInt64, lengths: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Distinct places, drawn uniformly, one row per list.

    Args:
        random: (n, k) uniform 64-bit numbers.
        lengths: (n,) length of each list.

    Returns:
        places: (n, k), each from 0 to its list's length - 1.
        drawn: (n, k), False where the list has no place left: a list of 2 gives 2 draws however large k is.
    """
    k = random.shape[1]
    left = np.asarray(lengths, dtype=np.int64)[:, None] - np.arange(k)
    # The j-th draw is among the length - j places not taken, numbered in order; it is moved past the places
    # taken, in ascending order, to find which place that is. (n, k) at once; k is small.
    places = (random % np.maximum(left, 1).astype(np.uint64)).astype(np.int64)
    for j in range(1, k):
        for taken in np.sort(places[:, :j], axis=1).T:
            places[:, j] += places[:, j] >= taken
    drawn = left > 0
    return np.where(drawn, places, 0), drawn


def _splitmix(state: UInt64) -> UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = state + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
