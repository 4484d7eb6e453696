"""The trained recommender whose score is a feature of candidates: which one, and made ready for workers.

A recommender knows what happened before some moment, `known_until`: of impressions that it has learnt from it
would say more than of those to come. So its score is known only of hours from then on, and a ranker keeps the
one that it has learnt with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.ranker import Ranker
from newslake.switches.promotions import NONE, history
from newslake.training.data.time_splits import Windows
from newslake.training.served import ServedModel, served_model

if TYPE_CHECKING:  # torch takes seconds to import: --help does without
    from newslake.training.models.saved import SavedModel
    from newslake.training.served import OpenModel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Recommender:
    """A recommender as workers take it.

    Attributes:
        model: with the articles that matter.
        known_until: its score is known of hours from this moment on.
    """

    model: ServedModel
    known_until: datetime


def latest_usable(lake: Lakehouse, models: Place, encoder_id: str, windows: Windows) -> "SavedModel | None":
    """The recommender that was promoted last of those that a ranker can learn with; None where there is none.

    That is one that reads histories and the same encoder's vectors, and knows nothing of the later half of
    the days that the ranker learns from.
    """
    promoted = [one.run_id for one in history(lake, "recommender") if one.promoted and one.run_id != NONE]
    if not promoted:
        return None
    from newslake.training.models.saved import load_saved

    half = windows.train + (windows.valid - windows.train) / 2
    for run_id in reversed(promoted):
        try:
            saved = load_saved(models, run_id)
        except UserError:  # purged, or of another version
            continue
        learns_before = saved.known_until is not None and saved.known_until <= half
        if learns_before and saved.encoder_id == encoder_id and saved.tuned is None:
            return saved
    return None


def recommender_of(models: Place, ranker: Ranker) -> "SavedModel | None":
    """The recommender that a ranker has learnt with; None where it knows of none.

    Raises:
        UserError: it is not there any more.
    """
    if ranker.recommender is None:  # an hourly feed without one needs no PyTorch
        return None
    from newslake.training.models.saved import load_saved

    return load_saved(models, ranker.recommender)


def for_workers(
    lake: Lakehouse, saved: "SavedModel", folder: Place, articles: DataFrame
) -> tuple[Recommender, DataFrame]:
    """A recommender over the articles that matter, and their numbers: news_id, article.

    Args:
        lake: where the tables live.
        saved: what `latest_usable` gives, or the ranker's own.
        folder: a new one that all workers see.
        articles: news_id of candidates and of what readers have read.
    """
    model, _, index = served_model(lake, saved, folder, only=articles)
    assert saved.known_until is not None  # latest_usable takes no other
    return Recommender(model, saved.known_until), index


class Scores:
    """A recommender's scores of the candidates of some readers, in a worker."""

    def __init__(self, recommender: Recommender) -> None:
        self._model: OpenModel = recommender.model.opened()
        self._known_until = recommender.known_until

    def users(self, histories: Sequence[npt.NDArray[np.int32]], hours: Sequence[datetime]) -> Floats:
        """(n, size) vectors of readers by the articles that they have read, oldest first; NaN where the hour
        is too early."""
        clicked = np.full((len(histories), self._model.width), -1, np.int64)
        for row, read in enumerate(histories):
            latest = read[read >= 0][::-1][: self._model.width]
            clicked[row, : len(latest)] = latest
        found = np.array(self._model.users(clicked))
        found[[hour < self._known_until for hour in hours]] = np.nan
        return found

    def of(self, user: Floats, articles: npt.NDArray[np.int32]) -> Floats:
        """(n,) scores of articles for a reader; NaN where an article has no vector, -1."""
        scores: Floats = self._model.served[np.maximum(articles, 0)] @ user
        scores[articles < 0] = np.nan
        return scores
