"""What processes that train together say to each other. Alone, nothing."""

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from newslake.training.models import IdEmbedding


class Alone:
    """One process."""

    rank = 0
    size = 1

    def average_gradients(self, parameters: Iterable[nn.Parameter], weight: int) -> Callable[[], int]:
        """Begin to make gradients those of the mean loss over all processes' parts of a batch.

        Before, each process's gradients are those of its own mean. A process that has nothing left takes part
        with weight 0.

        Returns:
            What ends it, and returns the size of the whole batch: 0 once no process has anything left, so
                uneven parts neither
            wait for each other for ever nor end early. Until then the gradients are not to be read; what is
                done meanwhile costs
            nothing where one process is slower than another.
        """
        return lambda: weight

    def total(self, *numbers: float) -> list[float]:
        """Sums over all processes."""
        return list(numbers)

    def share_met(self, model: nn.Module) -> None:
        """Let every process's model know the ids that any of them has met."""

    def agree(self, flag: bool) -> bool:
        """The first process's flag."""
        return flag

    def share_of(self, count: int) -> range:
        """This process's part of `count` rows of work."""
        return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def whole(self, part: Tensor, count: int) -> Tensor:
        """(count, dim) all processes' parts, of which `part` (n, dim) is what this one made of
        `share_of(count)`."""
        return part


class Together(Alone):
    """One of several processes that torch.distributed has joined: gloo on CPUs, NCCL on GPUs."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device

    def average_gradients(self, parameters: Iterable[nn.Parameter], weight: int) -> Callable[[], int]:
        """See Alone. One message a step: all gradients and the weight in one row of numbers."""
        used = list(parameters)
        parts = [torch.zeros_like(p).view(-1) if p.grad is None else p.grad.view(-1) * weight for p in used]
        row = torch.cat([*parts, torch.tensor([float(weight)], device=self._device)])
        sent = dist.all_reduce(row, async_op=True)

        def end() -> int:
            sent.wait()
            whole = int(row[-1])
            if whole:
                row.div_(whole)
                start = 0
                for p in used:
                    p.grad = row[start : start + p.numel()].view_as(p)
                    start += p.numel()
            return whole

        return end

    def total(self, *numbers: float) -> list[float]:
        """See Alone."""
        sums = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        dist.all_reduce(sums)
        return [float(number) for number in sums]

    def share_met(self, model: nn.Module) -> None:
        """See Alone."""
        for module in model.modules():
            if isinstance(module, IdEmbedding):
                met: Tensor = module.met.to(torch.uint8)
                dist.all_reduce(met, op=dist.ReduceOp.MAX)
                module.met.copy_(met.bool())

    def agree(self, flag: bool) -> bool:
        """See Alone."""
        [answer] = self.total(float(flag) if self.rank == 0 else 0.0)
        return answer > 0

    def whole(self, part: Tensor, count: int) -> Tensor:
        """See Alone."""
        rows = torch.zeros((count, part.shape[1]), device=self._device)
        mine = self.share_of(count)
        rows[mine.start : mine.stop] = part
        dist.all_reduce(rows)
        return rows
