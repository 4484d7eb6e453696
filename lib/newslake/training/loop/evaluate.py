"""Judges a model on impressions: every user and article gets its vector once, then each candidate is one
inner product."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from newslake.training.data.loading import Catalogue, Impressions
from newslake.training.loop.processes import Alone
from newslake.training.metrics import ImpressionMetrics, RankingMetrics, impression_metrics
from newslake.training.models import HistoryModel, Recommender
from newslake.training.models.base import Loss

# Rows per matrix: article vectors come from a product worth some threads; candidates are gathered, and stay
# in cache.
_VECTOR_CHUNK = 8192
_SCORE_CHUNK = 8192
_HISTORY_CHUNK = 512


@dataclass(frozen=True)
class Vectors:
    """Float32 vectors whose inner product ranks as the model does.

    Attributes:
        users: (users, dim), or (histories, dim) with `of_histories`: what the model knows users by.
        articles: (articles, dim).
        of_histories: whether `users` are histories.
    """

    users: Tensor
    articles: Tensor
    of_histories: bool = False

    def of_users(self, catalogue: Catalogue) -> Tensor:
        """(users, dim) the vector of each user, for a model of histories that of the latest one."""
        if not self.of_histories:
            return self.users
        assert catalogue.latest_history is not None
        return self.users[torch.tensor(catalogue.latest_history, dtype=torch.long, device=self.users.device)]


def all_vectors(
    model: Recommender, catalogue: Catalogue, device: torch.device, group: Alone | None = None
) -> Vectors:
    """The vectors of all users (or histories) and articles: each encoded once, however many impressions there
    are.

    Several processes share the histories, which are most of the work, and the articles where each takes an
    encoder.
    """
    group = group or Alone()
    model.eval()
    articles = len(catalogue.article_ids)
    with torch.inference_mode():
        if isinstance(model, HistoryModel):
            if model.news.tuned is None:
                news = _in_chunks(model.news_of, range(articles), device)
            else:
                news = group.whole(_in_chunks(model.news_of, group.share_of(articles), device), articles)
            read = partial(_read, model, news)
            count = len(model.histories)
            users = group.whole(_in_chunks(read, group.share_of(count), device, chunk=_HISTORY_CHUNK), count)
            served = _in_chunks(
                lambda part: model.candidates_of(news[part], model.embeddings[part]), range(articles), device
            )
            return Vectors(users, served, of_histories=True)
        users = _in_chunks(model.user_vectors, range(len(catalogue.user_ids)), device)
        return Vectors(users, _in_chunks(model.article_vectors, range(articles), device))


def _read(model: HistoryModel, news: Tensor, histories: Tensor) -> Tensor:
    return model.users_of(model.histories[histories], news, model.embeddings)


def scores(vectors: Vectors, impressions: Impressions) -> Tensor:
    """(candidates,) inner products of each candidate's vector with its user's, float32."""
    device = vectors.users.device
    sizes = np.diff(impressions.offsets)
    readers = impressions.readers(vectors.of_histories)
    users = torch.tensor(np.repeat(readers, sizes), device=device)
    articles = torch.tensor(impressions.articles, device=device)
    found = torch.empty(len(articles), device=device)
    with torch.inference_mode():
        for start in range(0, len(articles), _SCORE_CHUNK):
            part = slice(start, start + _SCORE_CHUNK)
            pairs = vectors.users.index_select(0, users[part]).mul_(
                vectors.articles.index_select(0, articles[part])
            )
            found[part] = pairs.sum(dim=1)
    return found.cpu()


def evaluate(
    vectors: Vectors, impressions: Impressions, loss: Loss = "bce"
) -> tuple[RankingMetrics, float | None]:
    """Means of what `judge` gives, and the loss."""
    each, found = judge(vectors, impressions, loss)
    return each.mean(), found


def judge(
    vectors: Vectors, impressions: Impressions, loss: Loss = "bce"
) -> tuple[ImpressionMetrics, float | None]:
    """Ranking metrics of each impression, and the loss over all their candidates (None without any).

    The loss bce is the mean binary cross-entropy of the candidates; softmax the mean cross-entropy of the
    clicks, each against all skips of its impression.
    """
    logits = scores(vectors, impressions)
    found = None
    if len(logits) and loss == "bce":
        found = float(
            torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.tensor(impressions.labels, dtype=torch.float32)
            )
        )
    elif len(logits) and impressions.labels.any():
        found = _softmax_loss(logits.double().numpy(), impressions)
    return impression_metrics(logits.numpy(), impressions.labels, impressions.offsets), found


def _softmax_loss(logits: npt.NDArray[np.float64], impressions: Impressions) -> float:
    clicked = impressions.labels == 1
    owner = np.repeat(np.arange(len(impressions.users)), np.diff(impressions.offsets))
    skips = np.full(len(impressions.users), -np.inf)
    np.logaddexp.at(skips, owner[~clicked], logits[~clicked])
    return float((np.logaddexp(skips[owner[clicked]], logits[clicked]) - logits[clicked]).mean())


def _in_chunks(
    vectors_of: Callable[[Tensor], Tensor], rows: range, device: torch.device, chunk: int | None = None
) -> Tensor:
    size = chunk or _VECTOR_CHUNK
    starts = range(rows.start, rows.stop, size)
    chunks = [
        vectors_of(torch.arange(start, min(start + size, rows.stop), device=device)).float()
        for start in starts
    ]
    # None where there are more processes than rows; the width is then that of no rows.
    return torch.cat(chunks) if chunks else vectors_of(torch.arange(0, device=device)).float()
