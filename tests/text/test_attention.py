"""Attention on a GPU: kernels that take any shape, and on a real one the vectors of a CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from newslake.text.attention import attention_of_any_shape
from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, Precision, resolve
from tests.text.conftest import WORDS


def test_no_kernel_that_plans_for_each_shape_is_left_and_the_settings_come_back() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with attention_of_any_shape(torch.device("cuda")):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.mem_efficient_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    with attention_of_any_shape(torch.device("cpu")):
        assert torch.backends.cuda.cudnn_sdp_enabled() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("fp16", 0.9999), ("bf16", 0.999)])
def test_a_gpu_gives_a_cpus_vectors(small_model: Path, precision: Precision, least: float) -> None:
    texts = [" ".join((WORDS * 10)[: 1 + 7 * (number % 40)]) for number in range(200)]
    wanted = Encoder(resolve(EncoderSpec(str(small_model), unit=True))).encode(texts).vectors
    found = (
        Encoder(resolve(EncoderSpec(str(small_model), unit=True, precision=precision)), device="cuda")
        .encode(texts)
        .vectors
    )
    assert np.einsum("ij,ij->i", wanted, found).min() >= least
