"""Layers of the models that read histories: the news tower, additive attention, self-attention."""

import torch
from torch import Tensor, nn

from newslake.text.attention import attention_of_any_shape
from newslake.training.data.loading import Catalogue
from newslake.training.models.base import AttributeEmbedding, Shape
from newslake.training.models.tuned import TunedText


class NewsTower(nn.Module):
    """An article's vector from its text's embedding, frozen or (with `shape.tune_layers`) by an encoder that
    learns too; with `shape.attributes`, from its attributes too.

    Attributes join as in NAML (Wu et al., "Neural News Recommendation with Attentive Multi-View Learning",
    IJCAI 2019): text, category, subcategory and first entity are views of one size, whose weighted sum is the
    vector, weighted by additive attention.

    Embeddings of one encoder share a large mean and have a scale of their own; they are centred and scaled by
    what the training articles' frozen ones show, which is kept with the weights.
    """

    def __init__(self, catalogue: Catalogue, shape: Shape) -> None:
        super().__init__()
        if catalogue.vectors is None:
            raise ValueError("a model of histories needs the articles' vectors")
        text = torch.from_numpy(catalogue.vectors)
        known = text[: catalogue.articles_in_training] if catalogue.articles_in_training else text
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", known.mean(dim=0))
        self.register_buffer("scale", 1.0 / known.std(correction=0).clamp(min=1e-6))
        self.dropout = nn.Dropout(shape.dropout)
        self.from_text = nn.Linear(text.shape[1], shape.dim)
        self.views = nn.ModuleList()
        self.attention: AdditiveAttention | None = None
        if shape.attributes:
            columns = (catalogue.category, catalogue.subcategory, catalogue.entity)
            self.views = nn.ModuleList(AttributeEmbedding(codes, shape.dim, scale=0.1) for codes in columns)
            self.attention = AdditiveAttention(shape.dim)
        self.tuned: TunedText | None = None
        if shape.tune_layers:
            if catalogue.texts is None:
                raise ValueError("to tune the encoder takes the articles' texts")
            self.tuned = TunedText(catalogue.texts, shape.tune_layers)

    def note_met(self, articles: Tensor) -> None:
        """These articles are trained on from now."""
        for view in self.views:
            assert isinstance(view, AttributeEmbedding)
            view.note_met(articles)

    def text_of(self, articles: Tensor, embeddings: Tensor) -> Tensor:
        """(n, size) what is read of the texts of articles (n,) with these `embeddings` (n, size); an encoder
        that learns reads texts."""
        text = embeddings if self.tuned is None else self.tuned(articles, self.mean)
        read: Tensor = self.dropout((text - self.mean) * self.scale)
        return read

    def forward(self, articles: Tensor, text: Tensor) -> Tensor:
        """(n, dim) vectors of articles (n,), where `text` (n, size) is what `text_of` gives for them."""
        vectors: Tensor = self.from_text(text)
        if self.attention is not None:
            views = torch.stack([vectors, *(view(articles) for view in self.views)], dim=1)
            vectors = self.attention(views)
        return vectors


class AdditiveAttention(nn.Module):
    """A weighted sum of vectors: weights are the softmax of query . tanh(W v + b) (Yang et al. 2016; NRMS's
    and NAML's pooling).

    Args:
        dim: size of the vectors.
        places: with it, each of so many places has a learnt number that is added before the softmax, 0 at
            first: from the latest click back, that is how recency counts.
    """

    def __init__(self, dim: int, places: int = 0) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, dim)
        self.query = nn.Linear(dim, 1, bias=False)
        self.recency = nn.Parameter(torch.zeros(places)) if places else None

    def forward(self, vectors: Tensor, there: Tensor | None = None) -> Tensor:
        """(n, dim) sums of vectors (n, k, dim); `there` (n, k) says which count, at least one of each row."""
        weights = self.query(torch.tanh(self.hidden(vectors))).squeeze(-1)
        if self.recency is not None:
            weights = weights + self.recency[: weights.shape[1]]
        if there is not None:
            weights = weights.masked_fill(~there, -torch.inf)
        return torch.einsum("nk,nkd->nd", torch.softmax(weights.float(), dim=1).to(vectors.dtype), vectors)


class SelfAttention(nn.Module):
    """Multi-head self-attention among a history's vectors, as in NRMS (Vaswani et al. 2017), with the vectors
    added to the result.

    NRMS has no such sum. Here articles come as finished vectors, and it lets the model begin from their plain
    mean.

    Raises:
        ValueError: heads do not divide dim.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim}")
        self.heads = heads
        self.inputs = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        """(n, k, dim) out of vectors (n, k, dim); `there` (n, k) says which are read, at least one of each
        row."""
        n, k, dim = vectors.shape
        query, key, value = (
            self.inputs(vectors).view(n, k, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
        with attention_of_any_shape(query.device):
            found = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=there[:, None, None, :]
            )
        out: Tensor = vectors + self.output(found.transpose(1, 2).reshape(n, k, dim))
        return out
