"""One epoch of training: batches, their loss, gradients averaged over the processes, and a step of the
optimizer for each."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from newslake.errors import JobFailed
from newslake.training.data.batches import Clicks, Examples
from newslake.training.data.feed import Block
from newslake.training.loop.processes import Alone
from newslake.training.models import LookedUp, Recommender
from newslake.training.models.settings import TrainSettings


class Rate:
    """The learning rate at each step of an epoch, by how many examples (or clicks) of all epochs have been
    trained on."""

    def __init__(self, settings: TrainSettings, epoch: int, per_epoch: int) -> None:
        self._settings, self._before, self._per_epoch = settings, epoch - 1, max(per_epoch, 1)

    def at(self, trained: int) -> float:
        settings = self._settings
        share = (self._before + min(trained / self._per_epoch, 1.0)) / settings.epochs
        if share < settings.warmup:
            return settings.learning_rate * share / settings.warmup
        if settings.schedule == "constant":
            return settings.learning_rate
        return (
            settings.learning_rate
            * 0.5
            * (1.0 + math.cos(math.pi * (share - settings.warmup) / (1.0 - settings.warmup)))
        )


def train_epoch(
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    blocks: Iterator[Block],
    batch_size: int,
    device: torch.device,
    epoch: int,
    settings: TrainSettings,
    rate: Rate,
    group: Alone,
) -> tuple[float, int]:
    """One pass over the examples of this process, in step with the others of its group.

    Args:
        blocks: of examples or clicks, from the feed.
        batch_size: this process's share of a batch.
        epoch: from 1, for what is said.
        rate: the learning rate of each step.
        group: the processes that train together.

    Returns:
        The mean loss and the number of examples, of all processes.

    Raises:
        JobFailed: the loss is not finite.
    """
    model.train()
    parameters = list(model.parameters())
    # Summed where it is: fetching each step's loss from a GPU would wait for the step.
    total = torch.zeros((), dtype=torch.float64, device=device)
    trained, by_all, candidates = 0, 0, 0
    batches = _batches(model, blocks, batch_size, device)
    batch, looked_up = next(batches, (None, None))
    while True:
        weight = 0 if batch is None else len(batch)
        optimizer.zero_grad(set_to_none=True)
        if batch is not None:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16"):
                loss = batch_loss(model, batch, settings, looked_up)
            loss.backward()
            total += loss.detach() * weight
            candidates += batch.articles.numel()
        averaged = group.average_gradients(parameters, weight)
        # While the processes' messages are on their way: a process that waits for another has the next
        # batch's lookups behind it.
        batch, looked_up = next(batches, (None, None))
        if not (whole := averaged()):
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


def _batches(
    model: Recommender, blocks: Iterator[Block], batch_size: int, device: torch.device
) -> Iterator[tuple[Block, LookedUp | None]]:
    """Batches, with what of them depends on no weight."""
    for block in blocks:
        articles = block.articles[block.shown] if isinstance(block, Clicks) else block.articles
        model.note_met(block.users.to(device), articles.to(device))
        for batch in block.batches(batch_size, device):
            yield (
                batch,
                model.look_up(_readers(model, batch), batch.articles) if isinstance(batch, Clicks) else None,
            )


def batch_loss(
    model: Recommender, batch: Block, settings: TrainSettings, looked_up: LookedUp | None = None
) -> Tensor:
    """The mean loss of a batch, a scalar: of its examples, or of its clicks, with what was looked up for
    them."""
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    if isinstance(batch, Examples):
        # Binary cross-entropy of the sigmoid, as in the tutorial, in the form that does not overflow.
        return bce(model(batch.users, batch.articles), batch.labels)
    logits = model.batch_logits(_readers(model, batch), batch.articles, batch.shown, looked_up).float()
    target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    if settings.loss == "softmax":
        return torch.nn.functional.cross_entropy(logits, target)
    logits = logits[:, : batch.shown.shape[1]]
    labels = torch.nn.functional.one_hot(target, logits.shape[1]).float()
    return bce(logits[batch.shown], labels[batch.shown])


def _readers(model: Recommender, batch: Clicks) -> Tensor:
    return batch.histories if model.reads_history else batch.users
