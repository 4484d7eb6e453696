"""Brute force in plain numpy: what every search is held against."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Hit = tuple[int, str, float]


def unit(vectors: Floats) -> Floats:
    """Rows at length 1, rounded to float32."""
    wide = vectors.astype(np.float64)
    return np.asarray((wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))).astype(np.float32))


def brute_force(queries: Floats, ids: Sequence[str], items: Floats, k: int) -> list[Hit]:
    """(query row, item id, score) of the k best by score, ties by id, in float64."""
    scores = queries.astype(np.float64) @ items.astype(np.float64).T
    found = []
    for row in range(len(queries)):
        best = sorted(range(len(ids)), key=lambda i: (-scores[row, i], ids[i]))[:k]
        found += [(row, ids[i], float(scores[row, i])) for i in best]
    return found
