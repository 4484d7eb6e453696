"""Judges a model on impressions: every user and article gets its vector once, then each candidate is one inner product."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from newslake.training.data import Impressions
from newslake.training.metrics import RankingMetrics, ranking_metrics
from newslake.training.models import Recommender

# Rows per matrix: article vectors come from a product worth some threads; candidates are gathered, and stay in cache.
_VECTOR_CHUNK = 8192
_SCORE_CHUNK = 8192


@dataclass(frozen=True)
class Vectors:
    """(users, dim) and (articles, dim) float32 vectors of all, whose inner product ranks as the model does."""

    users: Tensor
    articles: Tensor


def all_vectors(model: Recommender, *, users: int, articles: int, device: torch.device) -> Vectors:
    """The vectors of users 0 to `users` and articles 0 to `articles`."""
    model.eval()
    with torch.inference_mode():
        return Vectors(
            _in_chunks(model.user_vectors, users, device),
            _in_chunks(model.article_vectors, articles, device),
        )


def scores(vectors: Vectors, impressions: Impressions) -> Tensor:
    """(candidates,) inner products of each candidate's vector with its user's, float32."""
    device = vectors.users.device
    sizes = np.diff(impressions.offsets)
    users = torch.tensor(np.repeat(impressions.users, sizes), device=device)
    articles = torch.tensor(impressions.articles, device=device)
    found = torch.empty(len(articles), device=device)
    with torch.inference_mode():
        for start in range(0, len(articles), _SCORE_CHUNK):
            part = slice(start, start + _SCORE_CHUNK)
            pairs = vectors.users.index_select(0, users[part]).mul_(vectors.articles.index_select(0, articles[part]))
            found[part] = pairs.sum(dim=1)
    return found.cpu()


def evaluate(vectors: Vectors, impressions: Impressions) -> tuple[RankingMetrics, float | None]:
    """Ranking metrics over the impressions, and the mean binary cross-entropy over all their candidates (None without any)."""
    logits = scores(vectors, impressions)
    loss = None
    if len(logits):
        loss = float(torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(impressions.labels, dtype=torch.float32)))
    return ranking_metrics(logits.numpy(), impressions.labels, impressions.offsets), loss


def _in_chunks(vectors_of: Callable[[Tensor], Tensor], count: int, device: torch.device) -> Tensor:
    starts = range(0, count, _VECTOR_CHUNK)
    chunks = [vectors_of(torch.arange(start, min(start + _VECTOR_CHUNK, count), device=device)).float() for start in starts]
    return torch.cat(chunks)
