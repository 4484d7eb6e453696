"""What decides a trained model, besides the data."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from newslake.errors import UserError
from newslake.run.options import flag
from newslake.training.models import Shape, model_class
from newslake.training.models.base import Loss

# Part of every run's id: raise it when the same settings on the same data train another model.
RECIPE = 6
Schedule = Literal["constant", "cosine"]
TrainPrecision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class TrainSettings:
    """What decides a trained model, besides the data.

    Attributes:
        model: a name in models.MODELS.
        epochs: at most.
        patience: epochs without a better valid AUC after which training stops.
        seed: of the first weights, the order of the examples and the skips drawn.
        dim: size of the vectors, or of their learnt part.
        batch_size: examples (a user, a candidate and whether it was clicked) or clicks (each with its skips)
            per step, over all processes together.
        learning_rate, weight_decay: Adam's.
        skips: drawn per click, afresh each epoch.
        loss: bce, binary cross-entropy of each candidate; softmax, cross-entropy of the click among itself
            and its skips.
        schedule: of the learning rate: constant, or cosine, falling to 0 over all epochs.
        warmup: share of all steps over which the learning rate rises from 0.
        precision: of products; bf16 keeps weights in fp32 and takes products in bfloat16 (autocast).
        history, heads, attributes, dropout, temperature, in_batch, tune_layers: see models.Shape.
        tune_learning_rate: of the encoder's layers that are tuned; follows the same schedule.
        processes: that train together; each reads a part of the clicks.
    """

    model: str
    epochs: int
    patience: int
    seed: int
    dim: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    skips: int
    loss: Loss = "bce"
    schedule: Schedule = "constant"
    warmup: float = 0.0
    precision: TrainPrecision = "fp32"
    history: int = Shape.history
    heads: int = Shape.heads
    attributes: bool = Shape.attributes
    dropout: float = Shape.dropout
    temperature: float = Shape.temperature
    in_batch: float = Shape.in_batch
    tune_layers: int = Shape.tune_layers
    tune_learning_rate: float = 2e-5
    processes: int = 1

    def __post_init__(self) -> None:
        model_class(self.model)
        for name in ("epochs", "patience", "dim", "batch_size", "skips", "processes"):
            if getattr(self, name) < 1:
                raise UserError(f"{flag(name)} {getattr(self, name)}: must be at least 1")
        for name in ("learning_rate", "tune_learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{flag(name)} {getattr(self, name)}: must be above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"--weight-decay {self.weight_decay}: must be 0 or more")
        if not 0 <= self.warmup < 1:
            raise UserError(f"--warmup {self.warmup}: must be 0 or more, and below 1")
        if self.processes > self.batch_size:
            raise UserError(
                f"--batch-size {self.batch_size} cannot be shared by --processes {self.processes}"
            )
        assert self.shape.dim == self.dim  # checks the rest
        if self.tune_layers and not model_class(self.model).reads_history:
            raise UserError(
                f"--tune-layers {self.tune_layers}: {self.model} does not read texts while it trains: take"
                " --model nrms or dssm"
            )

    @property
    def shape(self) -> Shape:
        """What decides the model's layers."""
        return Shape(**{field.name: getattr(self, field.name) for field in fields(Shape)})

    @property
    def grouped(self) -> bool:
        """Whether the feed gives clicks with their skips rather than single examples."""
        return self.loss == "softmax" or model_class(self.model).reads_history

    def as_dict(self) -> dict[str, object]:
        """The settings by name, for a run's id. Those of tuning only where the encoder is tuned."""
        unused = () if self.tune_layers else ("tune_layers", "tune_learning_rate")
        return {
            name: value for name, value in {**asdict(self), "recipe": RECIPE}.items() if name not in unused
        }


def settings_for(model: str, **given: Any) -> TrainSettings:
    """Settings of a model: its own defaults where the value given is None.

    Raises:
        UserError: there is no such model, or a value makes no sense.
    """
    defaults = asdict(model_class(model).defaults)
    chosen = {name: defaults.get(name) if value is None else value for name, value in given.items()}
    return TrainSettings(model=model, **{**defaults, **chosen})
