"""What all models share: the two sides' vectors, and embeddings of ids and of articles' attributes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from newslake.errors import UserError
from newslake.training.data.loading import Catalogue, Codes

Loss = Literal["bce", "softmax"]


@dataclass(frozen=True)
class Defaults:
    """What a model is trained with where the user does not say. `batch_size` counts examples with the loss
    bce of a model that knows users by id, and clicks otherwise."""

    epochs: int
    patience: int
    dim: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    loss: Loss = "bce"
    schedule: Literal["constant", "cosine"] = "constant"
    dropout: float = 0.0
    attributes: bool = False


@dataclass(frozen=True)
class Shape:
    """What decides a model's layers.

    Attributes:
        dim: size of the vectors, or of their learnt part where a frozen one stands beside it.
        history: latest clicks that a model reads.
        heads: of its self-attention; divides dim.
        attributes: whether its articles are category, subcategory and entity too, or text alone.
        dropout: share of the numbers put to 0 while training, in models of histories.
        temperature: that learnt cosines are divided by, in models of histories.
        in_batch: weight in dssm's softmax of each other click of a batch, as a skip beside those that were
            shown; 0: none.
        tune_layers: last layers of the texts' encoder that learn too, in models of histories; 0: its vectors
            are frozen.
    """

    dim: int = 50
    history: int = 50
    heads: int = 4
    attributes: bool = False
    dropout: float = 0.0
    temperature: float = 0.2
    in_batch: float = 0.0
    tune_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "history", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: must be at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"--dropout {self.dropout}: must be 0 or more, and below 1")
        if not 0.0 < self.temperature < float("inf"):
            raise UserError(f"--temperature {self.temperature}: must be above 0")
        if not 0.0 <= self.in_batch < float("inf"):
            raise UserError(f"--in-batch {self.in_batch}: must be 0 or more")
        if self.tune_layers < 0:
            raise UserError(f"--tune-layers {self.tune_layers}: must be 0 or more")


@dataclass(frozen=True)
class LookedUp:
    """What of a batch of n clicks depends on no weight, so that it can be had while the step before is under
    way.

    Attributes:
        history: (n, k) places in `distinct` of what each user clicked, latest first; -1 where there is none.
        candidates: (n, 1 + skips) places in `distinct` of the articles shown.
        distinct: (articles,) indices of the batch's articles, each once.
        text: (articles, size) what the news tower reads of their texts; None where that depends on weights
            too.
        frozen_users: (n, size) the frozen part of the users' vectors, see history.HistoryModel.
        frozen_articles: (articles, size) the frozen part of the articles' vectors.
    """

    history: Tensor
    candidates: Tensor
    distinct: Tensor
    text: Tensor | None
    frozen_users: Tensor
    frozen_articles: Tensor


class Recommender(nn.Module):
    """What all models share. A subclass gives the vectors of users and of articles.

    A model knows users by their index (`user_vectors` of indices into the catalogue's users), or, with
    `reads_history`, by what they clicked (of indices into the catalogue's histories).

    Attributes:
        needs_vectors: whether the model reads the articles' embeddings.
        reads_history: whether it knows users by their histories.
        begins_as_zero_shot: whether it ranks as zero-shot does before it is trained, so that epoch 0 may be
            the best.
        defaults: for training it.
    """

    needs_vectors: ClassVar[bool]
    reads_history: ClassVar[bool] = False
    begins_as_zero_shot: ClassVar[bool] = False
    defaults: ClassVar[Defaults]

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__()

    def user_vectors(self, users: Tensor) -> Tensor:
        """(n, dim) vectors of the users (or histories) with these indices (n,)."""
        raise NotImplementedError

    def article_vectors(self, articles: Tensor) -> Tensor:
        """(n, dim) vectors of the articles with these indices (n,)."""
        raise NotImplementedError

    def forward(self, users: Tensor, articles: Tensor) -> Tensor:
        """(n,) logits of a click, for n pairs of user (or history) and article."""
        return (self.user_vectors(users) * self.article_vectors(articles)).sum(dim=1)

    def look_up(self, users: Tensor, articles: Tensor) -> LookedUp | None:
        """What depends on no weight, for `pairs` of the same users and articles; None where there is nothing
        of the kind."""
        return None

    def pairs(
        self, users: Tensor, articles: Tensor, looked_up: LookedUp | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors for training: (n, dim) of users (or histories) (n,), and (n, k, dim) of the articles (n, k)
        shown to each."""
        return self.user_vectors(users), self.article_vectors(articles.reshape(-1)).reshape(
            *articles.shape, -1
        )

    def batch_logits(
        self, users: Tensor, articles: Tensor, shown: Tensor, looked_up: LookedUp | None = None
    ) -> Tensor:
        """(n, m) logits of n clicks: column 0 is the click, the others what was not clicked, -inf where there
        is none.

        Args:
            users: (n,) indices of users (or histories).
            articles: (n, 1 + skips), the clicked one first.
            shown: (n, 1 + skips) False where an impression had fewer skips.
            looked_up: what `look_up` gave for them, where it was asked before.
        """
        of_users, of_articles = self.pairs(users, articles, looked_up)
        logits = torch.einsum("nd,nkd->nk", of_users, of_articles)
        return logits.masked_fill(~shown, -torch.inf)

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """Hear which users (by index, whatever the model reads) and articles are about to be trained on."""


class IdEmbedding(nn.Module):
    """A vector for each id, in which an id that training has not met has the mean vector of those it has met.

    In the tutorial such an id keeps its random first vector, which ranks new articles at random among
    themselves and against the others. The mean treats them as an average one, and leaves their order to what
    is known of them.

    Args:
        count: ids from 0; those of count and above share one place, never trained on.
        dim: size of a vector.
        scale: standard deviation of the first weights.
    """

    def __init__(self, count: int, dim: int, scale: float) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.randn(count + 1, dim) * scale)
        self.met: Tensor
        self.register_buffer("met", torch.zeros(count + 1, dtype=torch.bool))

    def note_met(self, ids: Tensor) -> None:
        """These ids are trained on from now."""
        self.met[ids.clamp(max=self.count)] = True

    def forward(self, ids: Tensor) -> Tensor:
        """(n, dim) vectors of ids (n,)."""
        ids = ids.clamp(max=self.count)
        vectors = nn.functional.embedding(ids, self.weight)
        if self.training:
            return vectors
        trained = self.weight[self.met]
        mean = (trained if len(trained) else self.weight).mean(dim=0)
        return torch.where(self.met[ids].unsqueeze(1), vectors, mean)


class AttributeEmbedding(nn.Module):
    """A vector for each value of an article's attribute, asked for by article."""

    def __init__(self, codes: Codes, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.code: Tensor
        self.register_buffer("code", torch.from_numpy(codes.values), persistent=False)
        self.values = IdEmbedding(codes.count, dim, scale)

    def note_met(self, articles: Tensor) -> None:
        """These articles are trained on from now."""
        self.values.note_met(self.code[articles])

    def forward(self, articles: Tensor) -> Tensor:
        """(n, dim) vectors of articles (n,)."""
        vectors: Tensor = self.values(self.code[articles])
        return vectors
