"""Geometry of the charts: places in per cent of a plot, which the template draws as inline SVG and CSS
decides the colours of.

Why no charting library: plotly's code inside the page is 4.5 MB, and its colours are fixed when the page is
made. Lines, bars and bubbles in per cent are a few kilobytes, stretch to a phone without shrinking their
text, and follow the reader's light or dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, in per cent of its length, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Scale:
    """A linear axis from low to high, drawn upwards or to the right."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Place of a value in per cent of the axis."""
        return round(100.0 * (value - self.low) / (self.high - self.low), 2)

    def ticks(self, most: int = 5) -> list[Tick]:
        """Marks at round values."""
        step = round_step((self.high - self.low) / most)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [
            Tick(self.at(number * step), f"{number * step:,.{digits}f}") for number in range(first, last + 1)
        ]


def nice_scale(values: Sequence[float], most: int = 5) -> Scale:
    """A scale that holds all values and ends at round numbers; one around the value where all are equal."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - max(abs(low) * 0.1, 0.05), high + max(abs(high) * 0.1, 0.05)
    step = round_step((high - low) / most)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(
        factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= least * (1 - 1e-9)
    )


@dataclass(frozen=True)
class LogScale:
    """An axis of powers of ten from 1, with a place of its own for 0 at its start."""

    high: int  # the last power of ten

    _ZERO = 6.0  # per cent that 0 takes

    def at(self, count: float) -> float:
        """Place of a count in per cent."""
        if count < 1:
            return 0.0
        return round(self._ZERO + (100.0 - self._ZERO) * math.log10(count) / self.high, 2)

    def ticks(self) -> list[Tick]:
        """0 and the powers of ten."""
        return [
            Tick(0.0, "0"),
            *(Tick(self.at(10**power), short_count(10**power)) for power in range(self.high + 1)),
        ]


def log_scale(counts: Sequence[int]) -> LogScale:
    """A scale that holds all counts."""
    return LogScale(max(1, math.ceil(math.log10(max(1, *counts, 1)))))


def path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path through points in per cent, y upwards, for a view box of 100 by 100."""
    return "".join(f"{'M' if place == 0 else 'L'}{x:g} {100 - y:g}" for place, (x, y) in enumerate(points))


def short_count(count: int) -> str:
    """A count in a few characters: 950, 12k, 3.4M."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            text = f"{count / size:.1f}" if count < 10 * size else f"{count / size:.0f}"
            return text.removesuffix(".0") + letter
    return str(count)


def percent(share: float) -> str:
    """A share of 0 to 1 in per cent: never 0 % or 100 % unless it is."""
    if 0 < share < 0.01:
        return "under 1\u00a0%"
    if 0.99 < share < 1:
        return f"{100 * share:.1f}\u00a0%" if share < 0.999 else "over 99.9\u00a0%"
    return f"{100 * share:.0f}\u00a0%"


def projected(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Directions of vectors in two dimensions: the first two principal components of the vectors at unit
    length.

    Of all flat pictures this one keeps the squared distances best, and for unit vectors those follow from the
    cosine. The sign of each axis is fixed by its largest entry, so that the same vectors give the same
    picture.

    Args:
        vectors: shape (n, d), n of 1 or more; a vector of length 0 stays at the origin before centring.

    Returns:
        Shape (n, 2), and the share of the variance that the picture shows (1.0 where there is none).
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths > 0, lengths, 1.0)
    centred = units - units.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    kept = min(2, len(s))
    points[:, :kept] = u[:, :kept] * s[:kept]
    for axis in range(kept):
        if points[np.argmax(np.abs(points[:, axis])), axis] < 0:
            points[:, axis] *= -1
    variance = float((s**2).sum())
    return points, float((s[:kept] ** 2).sum()) / variance if variance > 1e-12 else 1.0


def spread(
    points: np.ndarray, radii: np.ndarray, width: float, height: float, rounds: int = 200
) -> np.ndarray:
    """Points stretched to a box, and nudged until their discs no longer overlap (or the rounds are over).

    Args:
        points: shape (n, 2), any unit.
        radii: shape (n,), in the box's unit.
        width, height: of the box.
        rounds: of nudging; each moves overlapping discs apart by half of what they overlap.

    Returns:
        Shape (n, 2), from 0 to width and 0 to height.
    """
    size = np.array([width, height])
    extent = points.max(axis=0) - points.min(axis=0)
    placed = np.where(
        extent > 1e-9, (points - points.min(axis=0)) / np.where(extent > 1e-9, extent, 1.0), 0.5
    )
    edge = radii[:, None] + 2.0
    placed = edge + placed * (size - 2 * edge)
    wanted = radii[:, None] + radii[None, :] + 2.0
    for _ in range(rounds):
        apart = placed[:, None, :] - placed[None, :, :]
        # Discs at one place have no direction to part in: their numbers give one.
        turn = np.arange(len(placed)) * 2.399963
        apart += (np.stack([np.cos(turn), np.sin(turn)], axis=1)[:, None, :] * 1e-3) * (
            np.abs(apart).sum(-1, keepdims=True) < 1e-6
        )
        distance = np.linalg.norm(apart, axis=-1)
        overlap = np.where(distance < wanted, wanted - distance, 0.0)
        np.fill_diagonal(overlap, 0.0)
        if overlap.max(initial=0.0) < 0.5:
            break
        step = (apart / np.maximum(distance, 1e-9)[..., None] * overlap[..., None] * 0.5).sum(axis=1)
        placed = np.clip(placed + 0.5 * step, edge, size - edge)
    return np.asarray(placed)
