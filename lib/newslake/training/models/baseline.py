"""The zero-shot baseline: no training at all, only the encoder's vectors."""

import numpy as np
import numpy.typing as npt

from newslake.training.data.loading import Catalogue

_ROWS = 4096


def zero_shot(catalogue: Catalogue) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A history is the mean of its articles' embeddings, and ranks by cosine.

    Returns:
        (histories, size) and (articles, size) vectors of unit length, whose inner product is the cosine; an
            empty history has
        zeros, and so leaves its candidates tied.
    """
    if catalogue.vectors is None or catalogue.histories is None:
        raise ValueError("the baseline needs the articles' vectors and the histories")
    vectors, histories = catalogue.vectors, catalogue.histories
    users = np.zeros((len(histories), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(histories), _ROWS):
        part = histories[start : start + _ROWS]
        sums = np.zeros((len(part), vectors.shape[1]), dtype=np.float64)
        for place in range(part.shape[1]):
            there = part[:, place] >= 0
            sums[there] += vectors[part[there, place]]
        users[start : start + _ROWS] = _unit(sums)
    return users, _unit(vectors)


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > 0).astype(np.float32)
