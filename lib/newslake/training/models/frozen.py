"""The part of a model's vectors that zero-shot's ranking comes from: embeddings as they are, with one learnt
scale."""

import torch
from torch import Tensor, nn

SCALE = 5.0
"""Of zero-shot's cosines at first: about what makes logits of them, for sentence encoders."""


def frozen_users(clicked: Tensor, embeddings: Tensor) -> Tensor:
    """(n, size) the mean of the clicked articles' embeddings at unit length; zeros where nothing was clicked.

    Args:
        clicked: (n, k) places in `embeddings`; -1 where there is none.
        embeddings: (articles, size), which no gradient goes to.
    """
    there = (clicked >= 0).to(embeddings.dtype)
    with torch.no_grad():
        # The sum has the mean's direction. A bag adds up rows where they are, and makes no copy of all
        # clicks' vectors.
        sums = nn.functional.embedding_bag(
            clicked.clamp(min=0), embeddings, mode="sum", per_sample_weights=there
        )
        return nn.functional.normalize(sums, dim=-1)
