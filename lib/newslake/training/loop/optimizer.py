"""The optimizer of a model: Adam, with a learning rate of its own for an encoder that is tuned."""

import torch

from newslake.training.models import Recommender
from newslake.training.models.settings import TrainSettings
from newslake.training.models.tuned import TunedText


def optimizer_for(model: Recommender, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam over the model's parameters.

    A group's `share`, where it has one, is its part of the learning rate that the schedule gives.
    """
    tuned = [
        weight
        for module in model.modules()
        if isinstance(module, TunedText)
        for weight in module.parameters()
    ]
    known = {id(weight) for weight in tuned}
    groups: list[dict[str, object]] = [
        {"params": [weight for weight in model.parameters() if id(weight) not in known]}
    ]
    if tuned:
        groups.append({"params": tuned, "share": settings.tune_learning_rate / settings.learning_rate})
    return torch.optim.Adam(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
