"""Which of torch's attention kernels a GPU uses."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

# cuDNN's, which torch prefers on newer GPUs in half precision, makes a plan for every shape it meets: some 7
# ms each on an H100, where the attention itself takes 20 microseconds. Texts are batched by their lengths, so
# nearly every batch has shapes of its own.
_ANY_SHAPE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def attention_of_any_shape(device: torch.device) -> AbstractContextManager[None]:
    """Within it, attention on a GPU takes kernels that are ready for any number of texts of any length. On a
    CPU all are."""
    return nullcontext() if device.type == "cpu" else sdpa_kernel(_ANY_SHAPE)
