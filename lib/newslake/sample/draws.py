"""Random numbers that depend on nothing but seed, stream and row: the generator's only source of chance.

A draw is a hash of its place, not the next number of a sequence, so that any worker can make any row, in any
order, and gets the same. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA
2014).
"""

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bits: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(bits: Bits) -> Bits:
    bits = bits + _GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= _MIX_1
    bits ^= bits >> np.uint64(27)
    bits *= _MIX_2
    bits ^= bits >> np.uint64(31)
    return bits


class Draws:
    """The streams of one seed. A stream is a name; a draw is (stream, key, key ...), keys being arrays that
    broadcast."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, stream: str, *keys: npt.ArrayLike) -> Bits:
        """64 random bits for each row of keys (non-negative integers)."""
        start = hashlib.blake2b(f"{self.seed}/{stream}".encode(), digest_size=8).digest()
        bits = np.array([int.from_bytes(start, "little")], dtype=np.uint64)
        for key in keys:
            bits = _mix(bits ^ np.asarray(key).astype(np.uint64))
        return bits

    def uniform(self, stream: str, *keys: npt.ArrayLike) -> Floats:
        """Uniform in the open interval (0, 1): both logarithms of it exist."""
        return ((self.bits(stream, *keys) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def below(self, stream: str, limit: npt.ArrayLike, *keys: npt.ArrayLike) -> Ints:
        """Uniform integers in [0, limit); limit is a number or an array and at least 1."""
        return (self.uniform(stream, *keys) * np.asarray(limit)).astype(np.int64)

    def normal(self, stream: str, *keys: npt.ArrayLike) -> Floats:
        """Standard normal, by Box and Muller."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(stream + "/radius", *keys)))
        return radius * np.cos(2.0 * np.pi * self.uniform(stream + "/angle", *keys))

    def gumbel(self, stream: str, *keys: npt.ArrayLike) -> Floats:
        """Standard Gumbel: the largest of utility + Gumbel is a draw from the softmax of the utilities."""
        return -np.log(-np.log(self.uniform(stream, *keys)))


def choose(cumulative: Floats, uniform: Floats) -> Ints:
    """Index of the weighted choice that each uniform number makes. cumulative: rising, ends at 1."""
    return np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)


def scatter(index: npt.ArrayLike, size: int) -> Ints:
    """A fixed permutation of 0 .. size-1 (affine), so that an id's number tells nothing of its row's place in
    time."""
    step = _coprime_step(size)
    return (np.asarray(index, dtype=np.int64) * step + size // 3) % size


def unscatter(scattered: npt.ArrayLike, size: int) -> Ints:
    """The inverse of scatter."""
    inverse = pow(_coprime_step(size), -1, size) if size > 1 else 0
    return ((np.asarray(scattered, dtype=np.int64) - size // 3) % size * inverse) % size


def _coprime_step(size: int) -> int:
    step = max(1, int(size * 0.6180339887))
    while np.gcd(step, size) != 1:
        step += 1
    return step
