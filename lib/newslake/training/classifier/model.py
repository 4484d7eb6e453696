"""The text classifier: one model for each held-out fold and one for all texts, trained side by side in one
pass over the data.

Frozen vectors go through one linear layer, or two with a ReLU between. Model m of the folds never sees a text
of fold m in training, so its score of such a text is out-of-fold (stacking: Wolpert 1992); the last model
sees all texts. The models share nothing but the passes: as batched products they cost hardly more than one.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from newslake.errors import JobFailed
from newslake.training.classifier.data import Batch, TextFeed
from newslake.training.classifier.settings import ClassifierSettings

RECIPE = 1


class FoldedClassifier(nn.Module):
    """folds + 1 models of one shape; the last one is for all texts.

    Args:
        dimension: of the vectors.
        classes: how many.
        settings: network, hidden, folds and seed.
    """

    def __init__(self, dimension: int, classes: int, settings: ClassifierSettings) -> None:
        super().__init__()
        self.models = settings.folds + 1
        sizes = (
            [dimension, classes] if settings.network == "linear" else [dimension, settings.hidden, classes]
        )
        generator = torch.Generator().manual_seed(settings.seed)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            # Zero for the last layer; He et al. 2015 for one before it. The same for every model: they differ
            # in what they are shown.
            scale = 0.0 if after == classes and len(self.weights) == len(sizes) - 2 else (2.0 / before) ** 0.5
            first = torch.randn(before, after, generator=generator) * scale
            self.weights.append(nn.Parameter(first.expand(self.models, -1, -1).clone()))
            self.biases.append(nn.Parameter(torch.zeros(self.models, 1, after)))

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, d) -> logits (models, n, classes)."""
        x = vectors.expand(self.models, -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, torch.relu(x) if layer else x, weight)
        return x

    def loss(self, vectors: Tensor, labels: Tensor, folds: Tensor) -> Tensor:
        """Cross-entropy, summed over the models, each over the texts that it may see; (models,) means are not
        mixed."""
        logits = self(vectors)
        each = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.repeat(self.models), reduction="none"
        ).view(self.models, -1)
        seen = (torch.arange(self.models, device=folds.device)[:, None] != folds[None, :]).float()
        return ((each * seen).sum(1) / seen.sum(1).clamp(min=1.0)).sum()

    @torch.inference_mode()
    def held_out(self, vectors: Tensor, folds: Tensor) -> Tensor:
        """(n, classes) probabilities of each text by the model that did not see its fold."""
        logits = self(vectors)[folds, torch.arange(len(folds), device=folds.device)]
        return torch.softmax(logits, dim=1)

    def layers(self) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """The model of all texts: weights (outputs, inputs) and bias (outputs,) of each layer."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [
            (w[-1].detach().cpu().numpy().T.copy(), b[-1, 0].detach().cpu().numpy().copy()) for w, b in pairs
        ]


def train_classifier(
    feed: TextFeed,
    model: FoldedClassifier,
    settings: ClassifierSettings,
    *,
    steps: int,
    device: torch.device,
    progress: Callable[[str], None],
) -> None:
    """Train all models in `epochs` passes.

    Args:
        feed: the texts.
        model: changed in place, on `device`.
        settings: see ClassifierSettings.
        steps: of an epoch.
        device: where to train.
        progress: told of each epoch.

    Raises:
        JobFailed: the loss is not finite, or the feed lost texts.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, settings.epochs * steps))
    for epoch in range(1, settings.epochs + 1):
        total, count = torch.zeros((), dtype=torch.float64, device=device), 0
        for batch in feed.batches(epoch):
            loss = model.loss(*_on(batch, device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
            count += 1
        mean = float(total) / max(1, count) / model.models
        if not np.isfinite(mean):
            raise JobFailed(f"the loss became {mean} in epoch {epoch}: try a lower --learning-rate")
        if epoch == settings.epochs or epoch % 5 == 0:
            progress(f"epoch {epoch} of {settings.epochs}: loss {mean:.4f}")


def _on(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    parts = (torch.from_numpy(batch.vectors), torch.from_numpy(batch.labels), torch.from_numpy(batch.folds))
    return tuple(part.to(device) for part in parts)  # type: ignore[return-value]
