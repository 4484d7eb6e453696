"""Whether oneDNN multiplies matrices here; its operations are asked for by the encoder and by searches."""

from functools import cache

import torch


@cache
def has_onednn(dtype: torch.dtype) -> bool:
    """Whether a CPU's product of this type can go to oneDNN, with weights that are laid out once."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
