"""The two models of Vespa's news tutorial, part 4 (https://docs.vespa.ai/en/tutorials/news-4-embeddings.html), which know users by id."""

import torch
from torch import Tensor, nn

from newslake.training.data import Catalogue
from newslake.training.models.base import AttributeEmbedding, Defaults, IdEmbedding, Recommender, Shape

# The tutorial starts all embeddings from N(0, 1), whose inner products of 50 numbers begin as noise of size 7 that takes tens of
# epochs to unlearn, and that on small data is never quite unlearnt. Starting users and articles near 0 fits train sooner and
# ranks new articles better; attributes, which many articles share, do best as in the tutorial.
ID_SCALE = 0.1


class MatrixFactorization(Recommender):
    """A vector for each user and each article, learnt from clicks alone: it knows nothing of an article never shown."""

    needs_vectors = False
    # No early stop: its valid AUC stays near chance, so stopping by it would be stopping at random.
    defaults = Defaults(epochs=30, patience=30)

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__(catalogue, shape)
        self.users = IdEmbedding(catalogue.users_in_training, shape.dim, ID_SCALE)
        self.articles = IdEmbedding(catalogue.articles_in_training, shape.dim, ID_SCALE)

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

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__(catalogue, shape)
        if catalogue.vectors is None:
            raise ValueError("the content model needs the articles' vectors")
        dim = shape.dim
        self.users = IdEmbedding(catalogue.users_in_training, dim, ID_SCALE)
        self.articles = IdEmbedding(catalogue.articles_in_training, dim, ID_SCALE)
        self.category = AttributeEmbedding(catalogue.category, dim)
        self.subcategory = AttributeEmbedding(catalogue.subcategory, dim)
        self.entity = AttributeEmbedding(catalogue.entity, dim)
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
