"""The training loop: a plain function of staged files and settings, without Spark, so that a distributor can
call it too."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from newslake.errors import UserError
from newslake.files.remote import Place
from newslake.training.data.feed import ClickFeed
from newslake.training.data.loading import TrainingData
from newslake.training.data.sampling import mixed
from newslake.training.data.time_splits import TRAIN, VALID
from newslake.training.loop.checkpoint import EpochMetrics, Progress, load_checkpoint, save_checkpoint
from newslake.training.loop.epoch import Rate, train_epoch
from newslake.training.loop.evaluate import Vectors, all_vectors, evaluate, judge
from newslake.training.loop.optimizer import optimizer_for
from newslake.training.loop.processes import Alone
from newslake.training.metrics import RankingMetrics
from newslake.training.models import Recommender, build_model
from newslake.training.models.settings import TrainSettings

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
    checkpoint: Place | None = None,
    group: Alone | None = None,
) -> Trained:
    """Train, judging on train and valid after each epoch; stop early, and keep the best epoch by valid AUC
    (the first of equals).

    A model that begins as zero-shot is judged before its first epoch too, which counts as epoch 0. It stays
    so unless the best epoch is better by more than the standard error of the difference, impression by
    impression: with few impressions to choose by, training would else leave some models worse than they
    began.

    Args:
        data: what staging made.
        settings: see TrainSettings.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        threads: of torch on the CPU. One is best for batches as small as these: more wait for each other, and
            for the feed.
        progress: told of each epoch.
        checkpoint: file that keeps where training stands after each epoch; where it is there, training goes
            on from it.
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
        progress(
            f"going on after epoch {done.epoch} of {settings.epochs}"
            if not done.finished
            else f"trained already: epoch {done.epoch}"
        )
    with _torch_threads(threads), torch.random.fork_rng(enabled=settings.dropout > 0):
        if not done.finished:
            if model.begins_as_zero_shot and not done.metrics:
                _judge_untrained(data, settings, model, done, place, group, progress)
            _train_epochs(data, settings, model, optimizer, done, place, group, checkpoint, progress)
        if told := done.settle():
            progress(told)
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
    checkpoint: Place | None,
    progress: Tell,
) -> None:
    size = settings.batch_size // group.size
    shard = {"shard": group.rank, "shard_count": group.size}
    feed = ClickFeed(
        data.click_files,
        seed=settings.seed,
        skips=settings.skips,
        batch_size=size,
        grouped=settings.grouped,
        **shard,
    )
    before, waited, start = done.seconds, done.waited, time.perf_counter()
    with feed.epochs(done.epoch + 1, settings.epochs) as epochs:
        for epoch, blocks in epochs:
            # What dropout draws depends on the epoch alone, so that a resumed run draws it too.
            torch.manual_seed(mixed(settings.seed, epoch, group.rank) >> 1)
            rate = Rate(
                settings,
                epoch,
                int(group.total(feed.rows)[0]) * (1 if settings.grouped else 1 + settings.skips),
            )
            loss, count = train_epoch(model, optimizer, blocks, size, device, epoch, settings, rate, group)
            done.epoch = epoch
            done.examples += count
            vectors = all_vectors(model, data.catalogue, device, group)
            if group.rank == 0:
                _judge(data, settings, model, vectors, done, loss, progress)
                done.seconds, done.waited = before + time.perf_counter() - start, waited + feed.waited
                done.finished = epoch == settings.epochs or epoch - done.best_epoch >= settings.patience
                if done.finished and epoch < settings.epochs:
                    progress(
                        f"no better valid AUC in {settings.patience} epochs: stopping, epoch"
                        f" {done.best_epoch} was the best"
                    )
                if checkpoint is not None:
                    save_checkpoint(checkpoint, done, model, optimizer)
            if group.agree(done.finished):
                break


def _judge_untrained(
    data: TrainingData,
    settings: TrainSettings,
    model: Recommender,
    done: Progress,
    device: torch.device,
    group: Alone,
    progress: Tell,
) -> None:
    """Count the model as it begins as epoch 0: where training only does harm, it is the best."""
    vectors = all_vectors(model, data.catalogue, device, group)
    if group.rank == 0:
        _judge(data, settings, model, vectors, done, None, progress)


def _judge(
    data: TrainingData,
    settings: TrainSettings,
    model: Recommender,
    vectors: Vectors,
    done: Progress,
    loss: float | None,
    progress: Tell,
) -> None:
    on_train, _ = evaluate(vectors, data.train, settings.loss)
    each, valid_loss = judge(vectors, data.valid, settings.loss)
    on_valid = each.mean()
    done.metrics += [
        EpochMetrics(done.epoch, TRAIN, loss, on_train),
        EpochMetrics(done.epoch, VALID, valid_loss, on_valid),
    ]
    # Without an impression to judge by, the last epoch is as good as any.
    best = done.note(
        on_valid.auc if on_valid.auc is not None else float(done.epoch), model, torch.from_numpy(each.auc)
    )
    progress(_report(done.epoch, settings.epochs, loss, on_train, on_valid, best=best))


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
        raise UserError(
            f"--device {name}: this machine has {torch.cuda.device_count()} GPUs that torch can use"
        )
    return device


def _report(
    epoch: int,
    epochs: int,
    loss: float | None,
    on_train: RankingMetrics,
    on_valid: RankingMetrics,
    *,
    best: bool,
) -> str:
    def auc(metrics: RankingMetrics) -> str:
        return "none" if metrics.auc is None else f"{metrics.auc:.4f}"

    step = (
        "before training, as zero-shot:" if loss is None else f"epoch {epoch} of {epochs}: loss {loss:.4f},"
    )
    text = f"{step} AUC train {auc(on_train)}, valid {auc(on_valid)}"
    return f"{text} (best so far)" if best else text


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
