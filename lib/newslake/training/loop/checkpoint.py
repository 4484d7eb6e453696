"""Where training stands after an epoch, kept in one file: a run that was killed goes on from there, to the
same result."""

import os
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

from newslake.files.remote import Place, RemotePath, local
from newslake.training.metrics import RankingMetrics


@dataclass(frozen=True)
class EpochMetrics:
    """One split after one epoch. `loss`: of train the mean over the epoch's examples (or clicks) as they were
    trained on; of valid over all candidates (or clicks), where skips are not sampled, so the two do not
    compare."""

    epoch: int
    split: str
    loss: float | None
    ranking: RankingMetrics


@dataclass
class Progress:
    """What a run has come to.

    Attributes:
        epoch: epochs done.
        finished: whether no further epoch follows.
        metrics: of all epochs done.
        best_epoch, best_quality, best_weights: the best epoch so far.
        best_aucs: (impressions,) its AUC on each impression that chooses.
        untrained_weights, untrained_aucs: the same of the model as it began, where it began as zero-shot.
        seconds, waited, examples: of training so far.
    """

    epoch: int = 0
    finished: bool = False
    metrics: list[EpochMetrics] = field(default_factory=list)
    best_epoch: int = 0
    best_quality: float = float("-inf")
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_aucs: Tensor | None = None
    untrained_weights: dict[str, Tensor] = field(default_factory=dict)
    untrained_aucs: Tensor | None = None
    seconds: float = 0.0
    waited: float = 0.0
    examples: int = 0

    def note(self, quality: float, model: torch.nn.Module, aucs: Tensor) -> bool:
        """Hear how good the epoch just done was; whether it is the best so far (the first of equals)."""
        if self.best_weights and quality <= self.best_quality:
            return False
        self.best_epoch, self.best_quality, self.best_aucs = self.epoch, quality, aucs
        self.best_weights = {
            name: weights.detach().cpu().clone() for name, weights in model.state_dict().items()
        }
        if self.epoch == 0:
            self.untrained_weights, self.untrained_aucs = self.best_weights, aucs
        return True

    def settle(self) -> str:
        """Go back to the model as it began, unless the best epoch is better by more than the standard error
        of the difference.

        Few impressions choose an epoch by chance: what seems best on them may be worse than no training at
        all. Says so in one line where it goes back, else nothing.
        """
        if (
            not self.best_epoch
            or self.untrained_aucs is None
            or self.best_aucs is None
            or not len(self.best_aucs)
        ):
            return ""
        gain = self.best_aucs - self.untrained_aucs
        error = float(gain.std()) / len(gain) ** 0.5 if len(gain) > 1 else float("inf")
        if float(gain.mean()) > error:
            return ""
        told = (
            f"epoch {self.best_epoch} is better than no training by {gain.mean():.4f}, which may be chance"
            f" (standard error {error:.4f})"
        )
        self.best_epoch, self.best_weights, self.best_aucs = 0, self.untrained_weights, self.untrained_aucs
        self.best_quality = float(self.untrained_aucs.mean())
        return f"{told}: the model stays as it began"


def save_checkpoint(
    file: Place, progress: Progress, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Keep all that the next epoch begins from. The file is there as it was before, or as it is after."""
    state = {name: value for name, value in vars(progress).items() if name != "metrics"}
    state["metrics"] = [asdict(of_epoch) for of_epoch in progress.metrics]
    content = {"progress": state, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if isinstance(file, RemotePath):
        buffer = BytesIO()
        torch.save(content, buffer)
        file.write_bytes(buffer.getvalue())
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    torch.save(content, temporary)
    os.replace(temporary, file)


def load_checkpoint(file: Place, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put model and optimizer where the file left them."""
    state: dict[str, Any] = torch.load(local(file), map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    progress = Progress(**{name: value for name, value in state["progress"].items() if name != "metrics"})
    for of_epoch in state["progress"]["metrics"]:
        progress.metrics.append(
            EpochMetrics(**{**of_epoch, "ranking": RankingMetrics(**of_epoch["ranking"])})
        )
    return progress
