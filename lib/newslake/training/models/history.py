"""Models that know users by what they clicked, so that new users and new articles have vectors without
training again."""

import math

import torch
from torch import Tensor, nn

from newslake.errors import UserError
from newslake.training.data.loading import Catalogue
from newslake.training.models.base import Defaults, LookedUp, Recommender, Shape
from newslake.training.models.frozen import SCALE, frozen_users
from newslake.training.models.towers import AdditiveAttention, NewsTower, SelfAttention

DEFAULTS = Defaults(
    epochs=8,
    patience=2,
    dim=64,
    batch_size=128,
    learning_rate=3e-3,
    loss="softmax",
    schedule="cosine",
    dropout=0.4,
    attributes=True,
)


class HistoryModel(Recommender):
    """What the models of histories share: zero-shot's ranking to begin with, and what is learnt beside it.

    A vector that is served has two joined parts, and so an inner product has two summands:

    - frozen (size of the embeddings): of an article its embedding at unit length; of a user the mean of the
      clicked articles' embeddings at unit length, times a learnt scale. The inner product is zero-shot's
      cosine times the scale.
    - learnt (dim): the news tower's vectors, and what a subclass reads of them. Those of candidates are
      multiplied by a learnt gate that is 0 at first, so that an untrained model ranks exactly as zero-shot
      does.

    Before the gate, all learnt vectors have one length, the root of 1 / temperature, so that the inner
    product of a user's and an article's is a cosine divided by the temperature. With lengths of their own
    nrms had 0.009 to 0.011 less of valid AUC after an epoch of 200,000 generated impressions.

    A subclass gives `read`: a user out of the vectors of clicked articles. A user without any known click has
    a learnt vector, and zeros in the frozen part.
    """

    needs_vectors = True
    reads_history = True
    begins_as_zero_shot = True

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__(catalogue, shape)
        if catalogue.histories is None or catalogue.vectors is None:
            raise ValueError("a model of histories needs the users' histories and the articles' vectors")
        self.histories: Tensor
        self.embeddings: Tensor
        table = torch.from_numpy(catalogue.histories[:, : shape.history]).long()
        self.register_buffer("histories", table, persistent=False)
        self.register_buffer("embeddings", torch.from_numpy(catalogue.vectors), persistent=False)
        self.news = NewsTower(catalogue, shape)
        self.length = shape.temperature**-0.5
        # Not zeros: the direction of 0 has a gradient without bound, after which Adam moves it no more.
        self.nobody = nn.Parameter(torch.randn(shape.dim))
        self.scale = nn.Parameter(torch.tensor(SCALE).log())
        self.gate = nn.Parameter(torch.zeros(shape.dim))

    def read(self, clicked: Tensor, there: Tensor) -> Tensor:
        """(n, dim) users who clicked articles with the vectors `clicked` (n, k, dim), latest first, where
        `there` (n, k)."""
        raise NotImplementedError

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """See Recommender."""
        self.news.note_met(articles)

    def article_vectors(self, articles: Tensor) -> Tensor:
        """See Recommender."""
        return self.candidates_of(self.news_of(articles), nn.functional.embedding(articles, self.embeddings))

    def news_of(self, articles: Tensor, text: Tensor | None = None) -> Tensor:
        """(n, dim) the news tower's vectors of articles (n,), at one length; `text` as in LookedUp, where it
        was looked up before."""
        if text is None:
            text = self.news.text_of(articles, nn.functional.embedding(articles, self.embeddings))
        return self._of_one_length(self.news(articles, text))

    def user_vectors(self, users: Tensor) -> Tensor:
        """(n, size + dim) vectors of histories (n,), see Recommender."""
        return self.pairs(users, users.new_empty((len(users), 0)))[0]

    def candidates_of(self, news: Tensor, embeddings: Tensor) -> Tensor:
        """(n, size + dim) what is served for articles with vectors `news` (n, dim) of the news tower and
        `embeddings` (n, size)."""
        return torch.cat((nn.functional.normalize(embeddings, dim=-1), news * self.gate), dim=-1)

    def users_of(self, clicked: Tensor, news: Tensor, embeddings: Tensor) -> Tensor:
        """(n, size + dim) vectors of users who clicked these articles, with what is known of the articles at
        hand.

        Args:
            clicked: (n, k) places in `news`, latest first; -1 where there is none.
            news: (articles, dim) from the news tower.
            embeddings: (articles, size).
        """
        return torch.cat(
            (self.scale.exp() * frozen_users(clicked, embeddings), self._learnt(clicked, news)), dim=-1
        )

    def _learnt(self, clicked: Tensor, news: Tensor) -> Tensor:
        there = clicked >= 0
        # A row with nothing to read would be NaN: it reads one place of no meaning, and the result is put
        # aside.
        empty = ~there.any(dim=1)
        readable = there.clone()
        readable[:, 0] |= empty
        found = self.read(nn.functional.embedding(clicked.clamp(min=0), news), readable)
        return self._of_one_length(torch.where(empty.unsqueeze(1), self.nobody.to(found.dtype), found))

    def _of_one_length(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1) * self.length

    def look_up(self, users: Tensor, articles: Tensor) -> LookedUp:
        """See Recommender; each distinct article among histories and candidates is there once."""
        clicked = self.histories[users]
        longest = max(1, int((clicked >= 0).sum(dim=1).max())) if len(clicked) else 1
        clicked = clicked[:, :longest]
        distinct, place = torch.unique(
            torch.cat((clicked.reshape(-1), articles.reshape(-1))).clamp(min=0), return_inverse=True
        )
        of_history = torch.where(clicked >= 0, place[: clicked.numel()].view_as(clicked), -1)
        embeddings = nn.functional.embedding(distinct, self.embeddings)
        text = None if self.news.tuned is not None else self.news.text_of(distinct, embeddings)
        frozen = frozen_users(of_history, embeddings), nn.functional.normalize(embeddings, dim=-1)
        return LookedUp(of_history, place[clicked.numel() :].view_as(articles), distinct, text, *frozen)

    def pairs(
        self, users: Tensor, articles: Tensor, looked_up: LookedUp | None = None
    ) -> tuple[Tensor, Tensor]:
        """See Recommender."""
        found = looked_up or self.look_up(users, articles)
        news = self.news_of(found.distinct, found.text)
        of_users = torch.cat(
            (self.scale.exp() * found.frozen_users, self._learnt(found.history, news)), dim=-1
        )
        of_articles = torch.cat((found.frozen_articles, news * self.gate), dim=-1)
        return of_users, nn.functional.embedding(found.candidates, of_articles)


class NRMS(HistoryModel):
    """Multi-head self-attention over the history, then additive attention; inner product with the article.

    Wu et al., "Neural News Recommendation with Multi-Head Self-Attention", EMNLP 2019, whose news encoder
    reads word vectors, and whose vectors have lengths of their own; here the news tower stands in its place,
    over the frozen embedding of the whole text.
    """

    defaults = DEFAULTS

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__(catalogue, shape)
        if shape.dim % shape.heads:
            raise UserError(f"--heads {shape.heads} must divide --dim {shape.dim}")
        self.among = SelfAttention(shape.dim, shape.heads)
        self.pooled = AdditiveAttention(shape.dim, places=shape.history)
        self.dropout = nn.Dropout(shape.dropout)

    def read(self, clicked: Tensor, there: Tensor) -> Tensor:
        """See HistoryModel."""
        vectors: Tensor = self.pooled(self.among(self.dropout(clicked), there), there)
        return vectors


class DSSM(HistoryModel):
    """Two towers, user and article, whose cosine is divided by a temperature; other clicks of a batch may
    count as skips too.

    Huang et al., "Learning Deep Structured Semantic Models for Web Search using Clickthrough Data", CIKM
    2013. The user tower pools the news tower's vectors of the history by additive attention.

    No hidden layer stands behind either tower: users' and articles' vectors lie in one space from the first
    step, which such layers turn apart. They cost 0.018 of valid AUC at 200,000 generated impressions.
    """

    defaults = DEFAULTS

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__(catalogue, shape)
        self.pooled = AdditiveAttention(shape.dim, places=shape.history)
        self.in_batch = shape.in_batch

    def read(self, clicked: Tensor, there: Tensor) -> Tensor:
        """See HistoryModel."""
        vectors: Tensor = self.pooled(clicked, there)
        return vectors

    def batch_logits(
        self, users: Tensor, articles: Tensor, shown: Tensor, looked_up: LookedUp | None = None
    ) -> Tensor:
        """See Recommender. What the same user clicked, here or in the history, and the click itself are no
        skips."""
        of_users, of_articles = self.pairs(users, articles, looked_up)
        logits = torch.einsum("nd,nkd->nk", of_users, of_articles).masked_fill(~shown, -torch.inf)
        if not self.in_batch:
            return logits
        clicked = articles[:, 0]
        same = (users[:, None] == users[None, :]) | (clicked[:, None] == clicked[None, :])
        same |= (self.histories[users][:, None, :] == clicked[None, :, None]).any(dim=2)
        # exp(x + log w) = w exp(x): an article that others clicked tells less than one that this user was
        # shown and left.
        others = (of_users @ of_articles[:, 0].T + math.log(self.in_batch)).masked_fill(same, -torch.inf)
        return torch.cat((logits, others), dim=1)
