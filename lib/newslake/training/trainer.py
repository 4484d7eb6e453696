"""The training loop: a plain function of staged files and settings, without Spark, so that a distributor can call it too."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch

from newslake.errors import JobFailed, UserError
from newslake.training.data import TrainingData
from newslake.training.evaluate import Vectors, all_vectors, evaluate
from newslake.training.examples import TRAIN, VALID
from newslake.training.feed import ClickFeed, Examples
from newslake.training.metrics import RankingMetrics
from newslake.training.models import Recommender, build_model, model_class

# Part of every run's id: raise it when the same settings on the same data train another model.
RECIPE = 1


@dataclass(frozen=True)
class TrainSettings:
    """What decides a trained model, besides the data.

    Attributes:
        model: a name in models.MODELS.
        epochs: at most.
        patience: epochs without a better valid AUC after which training stops.
        seed: of the first weights, the order of the examples and the skips drawn.
        dim: size of the vectors.
        batch_size: examples (a user, a candidate and whether it was clicked) per step.
        learning_rate, weight_decay: Adam's.
        skips: drawn per click, afresh each epoch.
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

    def __post_init__(self) -> None:
        model_class(self.model)
        for name in ("epochs", "patience", "dim", "batch_size", "skips"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"--learning-rate {self.learning_rate}: must be above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise UserError(f"--weight-decay {self.weight_decay}: must be 0 or more")


@dataclass(frozen=True)
class EpochMetrics:
    """One split after one epoch. `loss`: of train the mean over the epoch's examples as they were trained on; of valid over
    all candidates, where skips are not sampled, so the two do not compare."""

    epoch: int
    split: str
    loss: float | None
    ranking: RankingMetrics


@dataclass(frozen=True)
class Trained:
    """What training leaves: every epoch's metrics, and the vectors of the best epoch."""

    metrics: list[EpochMetrics]
    best_epoch: int
    vectors: Vectors
    seconds: float
    waited: float
    examples: int


def train(
    data: TrainingData, settings: TrainSettings, *, device: str = "auto", threads: int = 1, progress: Callable[[str], None]
) -> Trained:
    """Train, judging on train and valid after each epoch; stop early, and keep the best epoch by valid AUC (the first of equals).

    Args:
        data: what staging made.
        settings: see TrainSettings.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        threads: of torch on the CPU. One is best for batches as small as these: more wait for each other, and for the feed.
        progress: told of each epoch.

    Raises:
        JobFailed: the loss is not finite, or the feed lost rows.
    """
    place = torch_device(device)
    model = build_model(settings.model, data.catalogue, dim=settings.dim, seed=settings.seed).to(place)
    feed = ClickFeed(data.click_files, seed=settings.seed, skips=settings.skips, batch_size=settings.batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    found: list[EpochMetrics] = []
    best: tuple[float, int, Vectors] | None = None
    examples, start = 0, time.perf_counter()
    with _torch_threads(threads), feed.epochs(1, settings.epochs) as epochs:
        for epoch, blocks in epochs:
            loss, count = _train_epoch(model, optimizer, blocks, settings.batch_size, place, epoch)
            examples += count
            vectors = all_vectors(model, users=len(data.catalogue.user_ids), articles=len(data.catalogue.article_ids), device=place)
            on_train, _ = evaluate(vectors, data.train)
            on_valid, valid_loss = evaluate(vectors, data.valid)
            found += [EpochMetrics(epoch, TRAIN, loss, on_train), EpochMetrics(epoch, VALID, valid_loss, on_valid)]
            # Without an impression to judge by, the last epoch is as good as any.
            quality = on_valid.auc if on_valid.auc is not None else float(epoch)
            if best is None or quality > best[0]:
                best = (quality, epoch, vectors)
            progress(_report(epoch, settings.epochs, loss, on_train, on_valid, best=best[1] == epoch))
            if epoch - best[1] >= settings.patience and epoch < settings.epochs:
                progress(f"no better valid AUC in {settings.patience} epochs: stopping, epoch {best[1]} was the best")
                break
    assert best is not None  # there is at least one epoch
    return Trained(found, best[1], best[2], time.perf_counter() - start, feed.waited, examples)


def torch_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU where there is one.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that torch can use")
    return device


def settings_dict(settings: TrainSettings) -> dict[str, object]:
    """The settings by name, for a run's id."""
    return {**asdict(settings), "recipe": RECIPE}


def _train_epoch(
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    blocks: Iterator[Examples],
    batch_size: int,
    device: torch.device,
    epoch: int,
) -> tuple[float, int]:
    """One pass over the examples; their mean loss and number."""
    model.train()
    # Summed where it is: fetching each step's loss from a GPU would wait for the step.
    total, count = torch.zeros((), dtype=torch.float64, device=device), 0
    for block in blocks:
        model.note_met(block.users.to(device), block.articles.to(device))
        for batch in block.batches(batch_size, device):
            # Binary cross-entropy of the sigmoid, as in the tutorial, in the form that does not overflow.
            logits = model(batch.users, batch.articles)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        count += len(block)
    mean = float(total) / max(count, 1)
    if not torch.isfinite(torch.tensor(mean)):
        raise JobFailed(f"the loss became {mean} in epoch {epoch}: try a lower --learning-rate")
    return mean, count


def _report(epoch: int, epochs: int, loss: float, on_train: RankingMetrics, on_valid: RankingMetrics, *, best: bool) -> str:
    def auc(metrics: RankingMetrics) -> str:
        return "none" if metrics.auc is None else f"{metrics.auc:.4f}"

    text = f"epoch {epoch} of {epochs}: loss {loss:.4f}, AUC train {auc(on_train)}, valid {auc(on_valid)}"
    return f"{text} (best so far)" if best else text


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
