"""The training loop: a plain function of staged files and settings, without Spark, so that a distributor can call it too."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from newslake.errors import JobFailed, UserError
from newslake.training.batches import Clicks, Examples
from newslake.training.checkpoint import EpochMetrics, Progress, load_checkpoint, save_checkpoint
from newslake.training.data import TrainingData
from newslake.training.evaluate import Vectors, all_vectors, evaluate
from newslake.training.examples import TRAIN, VALID
from newslake.training.feed import Block, ClickFeed
from newslake.training.metrics import RankingMetrics
from newslake.training.models import Recommender, build_model
from newslake.training.optimizer import optimizer_for
from newslake.training.processes import Alone
from newslake.training.sampling import mixed
from newslake.training.train_settings import TrainSettings

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What training leaves: every epoch's metrics, and the model and vectors of the best epoch."""

    metrics: list[EpochMetrics]
    best_epoch: int
    model: Recommender
    vectors: Vectors
    seconds: float
    waited: float
    examples: int


def train(
    data: TrainingData,
    settings: TrainSettings,
    *,
    device: str = "auto",
    threads: int = 1,
    progress: Tell,
    checkpoint: Path | None = None,
    group: Alone | None = None,
) -> Trained:
    """Train, judging on train and valid after each epoch; stop early, and keep the best epoch by valid AUC (the first of equals).

    Args:
        data: what staging made.
        settings: see TrainSettings.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        threads: of torch on the CPU. One is best for batches as small as these: more wait for each other, and for the feed.
        progress: told of each epoch.
        checkpoint: file that keeps where training stands after each epoch; where it is there, training goes on from it.
        group: the processes that train together, this one among them; alone by default.

    Raises:
        JobFailed: the loss is not finite, or the feed lost rows.
    """
    place, group = torch_device(device), group or Alone()
    model = build_model(settings.model, data.catalogue, settings.shape, seed=settings.seed).to(place)
    optimizer = optimizer_for(model, settings)
    done = Progress()
    if checkpoint is not None and checkpoint.exists():
        done = load_checkpoint(checkpoint, model, optimizer)
        progress(f"going on after epoch {done.epoch} of {settings.epochs}" if not done.finished else f"trained already: epoch {done.epoch}")
    with _torch_threads(threads), torch.random.fork_rng(enabled=settings.dropout > 0):
        if not done.finished:
            _train_epochs(data, settings, model, optimizer, done, place, group, checkpoint, progress)
        if done.best_weights:  # which the first of several processes keeps
            model.load_state_dict(done.best_weights)
        vectors = all_vectors(model, data.catalogue, place)
    return Trained(done.metrics, done.best_epoch, model, vectors, done.seconds, done.waited, done.examples)


def _train_epochs(
    data: TrainingData,
    settings: TrainSettings,
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    done: Progress,
    device: torch.device,
    group: Alone,
    checkpoint: Path | None,
    progress: Tell,
) -> None:
    size = settings.batch_size // group.size
    shard = {"shard": group.rank, "shard_count": group.size}
    feed = ClickFeed(data.click_files, seed=settings.seed, skips=settings.skips, batch_size=size, grouped=settings.grouped, **shard)
    before, waited, start = done.seconds, done.waited, time.perf_counter()
    with feed.epochs(done.epoch + 1, settings.epochs) as epochs:
        for epoch, blocks in epochs:
            # What dropout draws depends on the epoch alone, so that a resumed run draws it too.
            torch.manual_seed(mixed(settings.seed, epoch, group.rank) >> 1)
            rate = _Rate(settings, epoch, int(group.total(feed.rows)[0]) * (1 if settings.grouped else 1 + settings.skips))
            loss, count = _train_epoch(model, optimizer, blocks, size, device, epoch, settings, rate, group)
            done.epoch = epoch
            done.examples += count
            vectors = all_vectors(model, data.catalogue, device, group)
            if group.rank == 0:
                _judge(data, settings, model, vectors, done, loss, progress)
                done.seconds, done.waited = before + time.perf_counter() - start, waited + feed.waited
                done.finished = epoch == settings.epochs or epoch - done.best_epoch >= settings.patience
                if done.finished and epoch < settings.epochs:
                    progress(f"no better valid AUC in {settings.patience} epochs: stopping, epoch {done.best_epoch} was the best")
                if checkpoint is not None:
                    save_checkpoint(checkpoint, done, model, optimizer)
            if group.agree(done.finished):
                break


def _judge(
    data: TrainingData, settings: TrainSettings, model: Recommender, vectors: Vectors, done: Progress, loss: float, progress: Tell
) -> None:
    on_train, _ = evaluate(vectors, data.train, settings.loss)
    on_valid, valid_loss = evaluate(vectors, data.valid, settings.loss)
    done.metrics += [EpochMetrics(done.epoch, TRAIN, loss, on_train), EpochMetrics(done.epoch, VALID, valid_loss, on_valid)]
    # Without an impression to judge by, the last epoch is as good as any.
    best = done.note(on_valid.auc if on_valid.auc is not None else float(done.epoch), model)
    progress(_report(done.epoch, settings.epochs, loss, on_train, on_valid, best=best))


class _Rate:
    """The learning rate at each step of an epoch, by how many examples (or clicks) of all epochs have been trained on."""

    def __init__(self, settings: TrainSettings, epoch: int, per_epoch: int) -> None:
        self._settings, self._before, self._per_epoch = settings, epoch - 1, max(per_epoch, 1)

    def at(self, trained: int) -> float:
        settings = self._settings
        share = (self._before + min(trained / self._per_epoch, 1.0)) / settings.epochs
        if share < settings.warmup:
            return settings.learning_rate * share / settings.warmup
        if settings.schedule == "constant":
            return settings.learning_rate
        return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (share - settings.warmup) / (1.0 - settings.warmup)))


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


def _train_epoch(
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    blocks: Iterator[Block],
    batch_size: int,
    device: torch.device,
    epoch: int,
    settings: TrainSettings,
    rate: _Rate,
    group: Alone,
) -> tuple[float, int]:
    """One pass over the examples; their mean loss and number."""
    model.train()
    parameters = list(model.parameters())
    # Summed where it is: fetching each step's loss from a GPU would wait for the step.
    total = torch.zeros((), dtype=torch.float64, device=device)
    trained, by_all, candidates = 0, 0, 0
    batches = _batches(model, blocks, batch_size, device)
    while True:
        batch = next(batches, None)
        weight = 0 if batch is None else len(batch)
        optimizer.zero_grad(set_to_none=True)
        if batch is not None:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = batch_loss(model, batch, settings)
            loss.backward()
            total += loss.detach() * weight
            candidates += batch.articles.numel()
        if not (whole := group.average_gradients(parameters, weight)):
            break
        # By what all processes have trained on: with a rate of its own each would end with other weights.
        for of_optimizer in optimizer.param_groups:
            of_optimizer["lr"] = rate.at(by_all) * of_optimizer.get("share", 1.0)
        optimizer.step()
        trained, by_all = trained + weight, by_all + whole
    group.share_met(model)
    loss_sum, count, candidates_sum = group.total(float(total), trained, candidates)
    mean = loss_sum / max(count, 1)
    if not math.isfinite(mean):
        raise JobFailed(f"the loss became {mean} in epoch {epoch}: try a lower --learning-rate")
    return mean, int(candidates_sum)


def _batches(model: Recommender, blocks: Iterator[Block], batch_size: int, device: torch.device) -> Iterator[Block]:
    for block in blocks:
        articles = block.articles[block.shown] if isinstance(block, Clicks) else block.articles
        model.note_met(block.users.to(device), articles.to(device))
        yield from block.batches(batch_size, device)


def batch_loss(model: Recommender, batch: Block, settings: TrainSettings) -> Tensor:
    """The mean loss of a batch, a scalar: of its examples, or of its clicks."""
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    if isinstance(batch, Examples):
        # Binary cross-entropy of the sigmoid, as in the tutorial, in the form that does not overflow.
        return bce(model(batch.users, batch.articles), batch.labels)
    logits = model.batch_logits(_readers(model, batch), batch.articles, batch.shown).float()
    target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    if settings.loss == "softmax":
        return torch.nn.functional.cross_entropy(logits, target)
    logits = logits[:, : batch.shown.shape[1]]
    labels = torch.nn.functional.one_hot(target, logits.shape[1]).float()
    return bce(logits[batch.shown], labels[batch.shown])


def _readers(model: Recommender, batch: Clicks) -> Tensor:
    return batch.histories if model.reads_history else batch.users


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
