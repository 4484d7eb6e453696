"""The models, by name: each a class, and a line in MODELS.

A model gives users and articles vectors of one size whose inner product is the logit of a click, so its ranking can be
served as a maximum inner product search. The two here are those of Vespa's news tutorial, part 4
(https://docs.vespa.ai/en/tutorials/news-4-embeddings.html): matrix factorization and a content-based model.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from newslake.errors import UserError
from newslake.training.data import Catalogue, Codes

# The tutorial starts all embeddings from N(0, 1), whose inner products of 50 numbers begin as noise of size 7 that takes tens of
# epochs to unlearn, and that on small data is never quite unlearnt. Starting users and articles near 0 fits train sooner and
# ranks new articles better; attributes, which many articles share, do best as in the tutorial.
ID_SCALE = 0.1


@dataclass(frozen=True)
class Defaults:
    """What a model is trained with where the user does not say."""

    epochs: int
    patience: int


class Recommender(nn.Module):
    """What all models share. A subclass gives the vectors of users and of articles.

    Attributes:
        needs_vectors: whether the model reads the articles' embeddings.
        defaults: for training it.
    """

    needs_vectors: ClassVar[bool]
    defaults: ClassVar[Defaults]

    def user_vectors(self, users: Tensor) -> Tensor:
        """(n, dim) vectors of the users with these indices (n,)."""
        raise NotImplementedError

    def article_vectors(self, articles: Tensor) -> Tensor:
        """(n, dim) vectors of the articles with these indices (n,)."""
        raise NotImplementedError

    def forward(self, users: Tensor, articles: Tensor) -> Tensor:
        """(n,) logits of a click, for n pairs of user and article."""
        return (self.user_vectors(users) * self.article_vectors(articles)).sum(dim=1)

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """Hear which users and articles are about to be trained on."""


class IdEmbedding(nn.Module):
    """A vector for each id, in which an id that training has not met has the mean vector of those it has met.

    In the tutorial such an id keeps its random first vector, which ranks new articles at random among themselves and
    against the others. The mean treats them as an average one, and leaves their order to what is known of them.

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


class MatrixFactorization(Recommender):
    """A vector for each user and each article, learnt from clicks alone: it knows nothing of an article never shown."""

    needs_vectors = False
    # No early stop: its valid AUC stays near chance, so stopping by it would be stopping at random.
    defaults = Defaults(epochs=30, patience=30)

    def __init__(self, catalogue: Catalogue, dim: int) -> None:
        super().__init__()
        self.users = IdEmbedding(catalogue.users_in_training, dim, ID_SCALE)
        self.articles = IdEmbedding(catalogue.articles_in_training, dim, ID_SCALE)

    def user_vectors(self, users: Tensor) -> Tensor:
        """See Recommender."""
        vectors: Tensor = self.users(users)
        return vectors

    def article_vectors(self, articles: Tensor) -> Tensor:
        """See Recommender."""
        vectors: Tensor = self.articles(articles)
        return vectors

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """See Recommender."""
        self.users.note_met(users)
        self.articles.note_met(articles)


class ContentModel(Recommender):
    """The article's vector from its text (frozen), id, category, subcategory and first entity; the user's from the id.

    The text's vector is made `dim` wide by a sigmoid layer and joined with four embeddings of that width; a second sigmoid
    layer takes the five to `dim`.
    """

    needs_vectors = True
    defaults = Defaults(epochs=30, patience=5)

    def __init__(self, catalogue: Catalogue, dim: int) -> None:
        super().__init__()
        if catalogue.vectors is None:
            raise ValueError("the content model needs the articles' vectors")
        self.users = IdEmbedding(catalogue.users_in_training, dim, ID_SCALE)
        self.articles = IdEmbedding(catalogue.articles_in_training, dim, ID_SCALE)
        self.category = _AttributeEmbedding(catalogue.category, dim)
        self.subcategory = _AttributeEmbedding(catalogue.subcategory, dim)
        self.entity = _AttributeEmbedding(catalogue.entity, dim)
        self.text: Tensor
        self.register_buffer("text", torch.from_numpy(catalogue.vectors), persistent=False)
        self.from_text = nn.Linear(self.text.shape[1], dim)
        self.joined = nn.Linear(5 * dim, dim)

    def user_vectors(self, users: Tensor) -> Tensor:
        """See Recommender."""
        vectors: Tensor = self.users(users)
        return vectors

    def article_vectors(self, articles: Tensor) -> Tensor:
        """See Recommender."""
        text = torch.sigmoid(self.from_text(nn.functional.embedding(articles, self.text)))
        parts = [self.articles(articles), text, self.category(articles), self.subcategory(articles), self.entity(articles)]
        return torch.sigmoid(self.joined(torch.cat(parts, dim=1)))

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """See Recommender."""
        self.users.note_met(users)
        for table in (self.articles, self.category, self.subcategory, self.entity):
            table.note_met(articles)


class _AttributeEmbedding(nn.Module):
    """A vector for each value of an article's attribute, asked for by article."""

    def __init__(self, codes: Codes, dim: int) -> None:
        super().__init__()
        self.code: Tensor
        self.register_buffer("code", torch.from_numpy(codes.values), persistent=False)
        self.values = IdEmbedding(codes.count, dim, scale=1.0)

    def note_met(self, articles: Tensor) -> None:
        self.values.note_met(self.code[articles])

    def forward(self, articles: Tensor) -> Tensor:
        vectors: Tensor = self.values(self.code[articles])
        return vectors


MODELS: dict[str, type[Recommender]] = {
    "mf": MatrixFactorization,
    "content": ContentModel,
}


def model_class(name: str) -> type[Recommender]:
    """The model of that name.

    Raises:
        UserError: there is none.
    """
    if name not in MODELS:
        raise UserError(f"--model {name}: there is no such model; there are {', '.join(MODELS)}")
    return MODELS[name]


def build_model(name: str, catalogue: Catalogue, *, dim: int, seed: int) -> Recommender:
    """A model with its first weights, which the seed alone decides; torch's own random state stays as it was."""
    kind = model_class(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(catalogue, dim)
