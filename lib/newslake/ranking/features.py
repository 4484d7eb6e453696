"""The features of a candidate: one definition for training and for the feed, over arrays.

All of them are known strictly before the moment, a whole hour, for which candidates are ranked. What cannot
be known (the cosine of a user without a history, of an article without a vector) is NaN, which is no number
like 0: the trees learn what to make of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

RATES = ("ctr", "prior", "clicks", "impressions", "recent_clicks", "recent_impressions")
"""As in table article_ctr, at the moment."""
FEATURES = (
    *RATES,
    "age_hours",
    "category_share",
    "subcategory_share",
    "cosine_mean",
    "cosine_max",
    "cosine_top3",
    "cosine_recent",
    "likeness",
    "recommended",
    "exposures",
    "history_length",
)
RECENT = 5
"""Latest articles of the history that `cosine_recent` is the mean over."""
NO_VALUE = 0
"""Stands for no category in arrays of categories, and is never like another."""


@dataclass(frozen=True)
class Reader:
    """A user at a moment: the history, oldest first, and the vectors of the latest day up to then.

    Attributes:
        categories, subcategories: (n,) int64 of the articles of the history; NO_VALUE where there is none.
        embeddings: (m, size) unit vectors of those that have one, in their order.
        length: articles of the history, those beyond the latest n too.
        vectors: (k, size) unit vectors of the user's profile.
        weights: (k,) of those.
    """

    categories: npt.NDArray[np.int64]
    subcategories: npt.NDArray[np.int64]
    embeddings: Floats
    length: int
    vectors: Floats
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Articles:
    """The candidates of one reader at a moment.

    Attributes:
        categories, subcategories: (c,) int64.
        embeddings: (c, size) unit vectors; NaN where there is none. (c, 0) where no article has one.
        vectors: (c, size) unit vectors to be compared with the profile's, likewise.
    """

    categories: npt.NDArray[np.int64]
    subcategories: npt.NDArray[np.int64]
    embeddings: Floats
    vectors: Floats


def of_reader(reader: Reader, articles: Articles) -> dict[str, Floats]:
    """The features that depend on who reads, each (c,) float32.

    - category_share, subcategory_share: of the history's articles that are of the candidate's.
    - cosine_mean, _max, _top3, _recent: of the candidate's embedding with those of the history: over all, the
      highest, the mean of the three highest, and of the RECENT latest.
    - likeness: the highest cosine with a vector of the profile, each times the root of its weight over that
      of the heaviest.
    """
    found = {
        "category_share": _share(articles.categories, reader.categories),
        "subcategory_share": _share(articles.subcategories, reader.subcategories),
        "history_length": np.full(len(articles.categories), reader.length, np.float32),
        "likeness": _likeness(reader, articles),
    }
    names = ("cosine_mean", "cosine_max", "cosine_top3", "cosine_recent")
    if not len(reader.embeddings) or not articles.embeddings.shape[1]:
        return found | {name: _nothing(len(articles.categories)) for name in names}
    cosines = articles.embeddings @ reader.embeddings.T
    top = np.partition(cosines, -3, axis=1)[:, -3:] if cosines.shape[1] > 3 else cosines
    values = (cosines.mean(axis=1), cosines.max(axis=1), top.mean(axis=1), cosines[:, -RECENT:].mean(axis=1))
    return found | dict(zip(names, values, strict=True))


def _share(of_candidates: npt.NDArray[np.int64], of_history: npt.NDArray[np.int64]) -> Floats:
    if not len(of_history):
        return _nothing(len(of_candidates))
    shares: Floats = (of_candidates[:, None] == of_history[None, :]).mean(axis=1, dtype=np.float32)
    shares[of_candidates == NO_VALUE] = np.nan
    return shares


def _likeness(reader: Reader, articles: Articles) -> Floats:
    if not len(reader.vectors) or not articles.vectors.shape[1]:
        return _nothing(len(articles.categories))
    heaviest = reader.weights.max()
    # Weights of 0 all around: then likeness says nothing.
    scale = np.sqrt(reader.weights / heaviest) if heaviest > 0.0 else np.zeros(len(reader.weights))
    likeness: Floats = ((articles.vectors @ reader.vectors.T) * scale.astype(np.float32)).max(axis=1)
    return likeness


def _nothing(many: int) -> Floats:
    return np.full(many, np.nan, np.float32)
