"""How a text classifier is trained, each option once. No torch here."""

from typing import Literal

from newslake.errors import UserError
from newslake.run.options import flag, option_group

Network = Literal["linear", "hidden"]


@option_group
class ClassifierSettings:
    """What decides a trained classifier, besides the data.

    Attributes:
        network: One linear layer, or two with a ReLU between.
        hidden: Width of the hidden layer.
        folds: Parts that are held out in turn.
        epochs: Passes over the texts.
        batch_size: Texts of a step.
        learning_rate: Of AdamW; it falls to 0 along half a cosine.
        weight_decay: Of AdamW.
        seed: Of folds, first weights and order.
    """

    network: Network = "linear"
    hidden: int = 256
    folds: int = 5
    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 0.02
    weight_decay: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("hidden", 1), ("folds", 2), ("epochs", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{flag(name)} {getattr(self, name)}: must be at least {least}")
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.weight_decay < float("inf"):
            raise UserError("--learning-rate must be above 0, --weight-decay 0 or more")


CLASSIFIER = ClassifierSettings()
"""What a job takes where nothing is given."""
