"""The two models of Vespa's news tutorial, part 4
(https://docs.vespa.ai/en/tutorials/news-4-embeddings.html), which know users by id."""

import torch
from torch import Tensor, nn

from newslake.training.data.loading import Catalogue
from newslake.training.models.base import AttributeEmbedding, Defaults, IdEmbedding, Recommender, Shape
from newslake.training.models.frozen import SCALE, frozen_users

# The tutorial starts all embeddings from N(0, 1), whose inner products of 50 numbers begin as noise of size 7
# that takes tens of epochs to unlearn, and that on small data is never quite unlearnt. Starting users and
# articles near 0 fits train sooner and ranks new articles better; attributes, which many articles share, do
# best as in the tutorial.
ID_SCALE = 0.1


class MatrixFactorization(Recommender):
    """A vector for each user and each article, learnt from clicks alone: it knows nothing of an article never
    shown."""

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
    """The article's vector from its text (frozen), id, category, subcategory and first entity; the user's
    from the id.

    The text's vector is made `dim` wide by a sigmoid layer and joined with four embeddings of that width; a
    second sigmoid layer takes the five to `dim`.

    Beside the tutorial's vectors stand frozen ones, as in history.HistoryModel, and the second layer's
    weights are 0 at first, so that the model begins as zero-shot. A user's frozen vector is of the clicks
    before the first impression. An id tells nothing of a user who is new; so the frozen vector goes through a
    layer too, and is added to the id's.
    """

    needs_vectors = True
    begins_as_zero_shot = True
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
        self.clicked: Tensor
        self.register_buffer("text", torch.from_numpy(catalogue.vectors), persistent=False)
        self.register_buffer("clicked", _first_clicks(catalogue, shape.history), persistent=False)
        self.from_text = nn.Linear(self.text.shape[1], dim)
        self.joined = nn.Linear(5 * dim, dim)
        self.from_clicks = nn.Linear(self.text.shape[1], dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(SCALE).log())
        # All articles begin with one learnt vector, which orders none of them; users differ, so its weights
        # learn from the first step on.
        nn.init.zeros_(self.joined.weight)

    def user_vectors(self, users: Tensor) -> Tensor:
        """(n, size + dim), see Recommender."""
        frozen = frozen_users(self.clicked[users], self.text)
        return torch.cat((self.scale.exp() * frozen, self.users(users) + self.from_clicks(frozen)), dim=1)

    def article_vectors(self, articles: Tensor) -> Tensor:
        """(n, size + dim), see Recommender."""
        embeddings = nn.functional.embedding(articles, self.text)
        text = torch.sigmoid(self.from_text(embeddings))
        parts = [
            self.articles(articles),
            text,
            self.category(articles),
            self.subcategory(articles),
            self.entity(articles),
        ]
        learnt = torch.sigmoid(self.joined(torch.cat(parts, dim=1)))
        return torch.cat((nn.functional.normalize(embeddings, dim=1), learnt), dim=1)

    def note_met(self, users: Tensor, articles: Tensor) -> None:
        """See Recommender."""
        self.users.note_met(users)
        for table in (self.articles, self.category, self.subcategory, self.entity):
            table.note_met(articles)


def _first_clicks(catalogue: Catalogue, length: int) -> Tensor:
    """(users, most clicks) what each user clicked before the first impression, latest first; -1 where there
    is none."""
    if catalogue.histories is None or catalogue.first_history is None:
        return torch.full((len(catalogue.user_ids), 1), -1)
    return torch.from_numpy(catalogue.histories[catalogue.first_history, :length]).long()
