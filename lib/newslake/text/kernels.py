"""What models over texts laid end to end are made of."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Groups = Sequence[tuple[int, int]]
"""Texts of equal length side by side: (length, how many), in order."""
Linear = Callable[[Tensor], Tensor]


def positions(groups: Groups) -> Tensor:
    """int64 (tokens,): each token's place in its text."""
    return torch.cat([torch.arange(length).repeat(count) for length, count in groups])


def to_device(device: torch.device, *parts: Tensor) -> list[Tensor]:
    """The parts on the device."""
    if device.type == "cuda":  # only from pinned memory does a copy go on beside the work of the device
        parts = tuple(part.pin_memory() for part in parts)
    return [part.to(device, non_blocking=True) for part in parts]


def check_ids(ids: Tensor, segments: Tensor | None, words: int, kinds: int) -> None:
    """Refuse ids that a model with so many embeddings of words and of segments lacks: on a GPU the look-up would end the process.

    Raises:
        IndexError: there is one.
    """
    if int(ids.max()) >= words:
        raise IndexError(f"token id {int(ids.max())}, but the model has {words} embeddings")
    if segments is not None and int(segments.max()) >= kinds:
        raise IndexError(f"segment id {int(segments.max())}, but the model has {kinds} embeddings of segments")


def linear(weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Linear:
    """x -> x W' + b, then GELU where asked for (the exact one, by erf).

    On a CPU by oneDNN with weights laid out once and GELU in the same pass: on CPUs whose AVX-512 the default library
    leaves unused it is more than twice as fast, elsewhere about equal.
    """
    if _has_onednn(weight):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        after, how = ("gelu", "none") if gelu else ("none", "")
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, after, [], how)
    if gelu:
        return lambda x: F.gelu(F.linear(x, weight, bias))
    return lambda x: F.linear(x, weight, bias)


def _has_onednn(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return weight.dtype in (torch.float32, torch.bfloat16) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
