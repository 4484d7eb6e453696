"""The models, by name: each a class, and a line in MODELS.

A model gives users and articles vectors of one size whose inner product is the logit of a click, so its
ranking can be served as a maximum inner product search.
"""

import torch

from newslake.errors import UserError
from newslake.training.data.loading import Catalogue
from newslake.training.models.base import Defaults, IdEmbedding, LookedUp, Recommender, Shape
from newslake.training.models.by_id import ContentModel, MatrixFactorization
from newslake.training.models.history import DSSM, NRMS, HistoryModel

__all__ = [
    "MODELS",
    "Defaults",
    "HistoryModel",
    "IdEmbedding",
    "LookedUp",
    "Recommender",
    "Shape",
    "build_model",
    "model_class",
]

MODELS: dict[str, type[Recommender]] = {
    "mf": MatrixFactorization,
    "content": ContentModel,
    "nrms": NRMS,
    "dssm": DSSM,
}


def model_class(name: str) -> type[Recommender]:
    """The model of that name.

    Raises:
        UserError: there is none.
    """
    if name not in MODELS:
        raise UserError(f"--model {name}: there is no such model; there are {', '.join(MODELS)}")
    return MODELS[name]


def build_model(name: str, catalogue: Catalogue, shape: Shape, *, seed: int) -> Recommender:
    """A model with its first weights, which the seed alone decides; torch's own random state stays as it
    was."""
    kind = model_class(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(catalogue, shape)
