"""The topics of texts by a fitted model, many texts at once: variational inference for LDA in numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

_ROUNDS = 100
_SETTLED = 1e-3
_BLOCK = 30_000
"""Terms (distinct ones of each text) that are worked on at once: what bounds the memory, at _BLOCK x topics
doubles."""
_WEIGHT_DIGITS = 6


@dataclass(frozen=True)
class TopicModel:
    """A fitted model, as inference needs it. Topics are 0 .. k-1.

    Attributes:
        topic_model: its id.
        vocabulary: term -> row of term_weights.
        term_weights: float64 (terms, k): exp(E[log beta]) under the fitted Dirichlet of each topic.
        prior: float64 (k,), alpha: the Dirichlet prior of a text's topics.
    """

    topic_model: str
    vocabulary: dict[str, int]
    term_weights: np.ndarray
    prior: np.ndarray

    @classmethod
    def fitted(
        cls, topic_model: str, terms: Sequence[str], counts: np.ndarray, prior: np.ndarray
    ) -> "TopicModel":
        """From what a fit gives: counts (terms, k) are the parameters of each topic's Dirichlet over
        terms."""
        weights = np.exp(digamma(counts) - digamma(counts.sum(axis=0)))
        return cls(
            topic_model,
            {term: row for row, term in enumerate(terms)},
            weights,
            np.asarray(prior, dtype=np.float64),
        )

    def shares(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """Share of each topic in each text, float64 (texts, k), each row's sum 1; NaN for a text without a
        known term.

        The E-step of Hoffman, Blei and Bach (NIPS 2010), with phi left out as they do: gamma = alpha + the
        expected counts. It starts from equal shares instead of a random draw, and each text stops where it
        settles, so that a text's shares do not depend on what stands beside it.
        """
        rows, columns, counts = self._counted(texts)
        found = np.full((len(texts), len(self.prior)), np.nan)
        ends = np.searchsorted(rows, np.arange(len(texts) + 1))
        start = 0
        while start < len(texts):
            stop = max(int(np.searchsorted(ends, ends[start] + _BLOCK, side="right")) - 1, start + 1)
            part = slice(ends[start], ends[stop])
            if part.stop > part.start:
                known, place = np.unique(rows[part], return_inverse=True)
                found[known] = self._gamma(place, columns[part], counts[part], len(known))
            start = stop
        return found / found.sum(axis=1, keepdims=True)

    def _counted(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Text, term and count of every distinct known term of every text, sorted by both."""
        lengths = [len(text) for text in texts]
        row = np.repeat(np.arange(len(texts)), lengths)
        column = np.fromiter(
            (self.vocabulary.get(term, -1) for text in texts for term in text), np.int64, count=sum(lengths)
        )
        known = column >= 0
        keys, counts = np.unique(row[known] * len(self.vocabulary) + column[known], return_counts=True)
        return (
            keys // max(len(self.vocabulary), 1),
            keys % max(len(self.vocabulary), 1),
            counts.astype(np.float64),
        )

    def _gamma(self, text: np.ndarray, term: np.ndarray, count: np.ndarray, texts: int) -> np.ndarray:
        """The parameters of each text's Dirichlet over topics; `text` is sorted and names every one of 0 ..
        texts - 1."""
        sizes = np.bincount(text, weights=count, minlength=texts)
        gamma = self.prior + sizes[:, None] / len(self.prior)
        result = gamma.copy()
        active = np.arange(texts)
        for _ in range(_ROUNDS):
            theta = np.exp(digamma(gamma) - digamma(gamma.sum(axis=1))[:, None])
            beta = self.term_weights[term]
            # einsum, not BLAS: each text's sums are added in one order, whatever the size of the block.
            per_term = count / (np.einsum("nk,nk->n", theta[text], beta) + 1e-100)
            starts = np.flatnonzero(np.diff(text, prepend=-1))
            moved = self.prior + theta * np.add.reduceat(beta * per_term[:, None], starts, axis=0)
            result[active] = moved
            going = np.abs(moved - gamma).mean(axis=1) > _SETTLED
            if not going.any():
                break
            kept = going[text]
            active, gamma, term, count = active[going], moved[going], term[kept], count[kept]
            text = (np.cumsum(going) - 1)[text[kept]]
        return result


def top_topics(shares: np.ndarray, how_many: int) -> tuple[np.ndarray, np.ndarray]:
    """The most relevant topics of each text: ids and weights, (texts, how_many) each, heaviest first, ties by
    the lower id.

    Weights are rounded to 6 digits, below which machines may differ. Where a text has none, ids are -1 and
    weights 0.
    """
    rounded = np.round(np.nan_to_num(shares, nan=0.0), _WEIGHT_DIGITS)
    order = np.argsort(-rounded, axis=1, kind="stable")[:, :how_many]
    unknown = np.isnan(shares).any(axis=1)
    weights = np.take_along_axis(rounded, order, axis=1)
    return np.where(unknown[:, None], -1, order), np.where(unknown[:, None], 0.0, weights)
