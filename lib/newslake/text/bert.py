"""BERT over texts laid end to end: no padding, no mask, one matrix product for query, key and value.

The architecture is that of Devlin et al. (NAACL 2019), RoBERTa's (Liu et al. 2019) where positions are
offset. Loading it here instead of through transformers also saves each Python worker several seconds of
imports.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from newslake.text.attention import attention_of_any_shape
from newslake.text.onednn import has_onednn
from newslake.text.weights import OFFSET_POSITIONS, PACKED_FAMILIES, model_config, weight_files

# Parts of a checkpoint that play no role in the last hidden layer.
_UNUSED = (
    "pooler.",
    "cls.",
    "lm_head.",
    "classifier.",
    "embeddings.position_ids",
    "embeddings.token_type_ids",
)
Groups = Sequence[tuple[int, int]]
Linear = Callable[[Tensor], Tensor]


class PackedBert:
    """The encoder's last hidden layer.

    A batch is the tokens of its texts one after another, texts of equal length side by side: `groups` are
    (length, how many) in that order. Every layer but attention works on single tokens, so that nothing is
    padded; attention takes one group at a time.
    """

    def __init__(
        self, config: dict[str, Any], weights: dict[str, Tensor], dtype: torch.dtype, device: torch.device
    ) -> None:
        """Take the weights by their names in transformers' checkpoints, without the family's prefix."""

        def take(name: str) -> Tensor:
            return weights.pop(name).to(device=device, dtype=dtype).contiguous()

        def linear(*names: str, gelu: bool = False) -> Linear:
            return _linear(
                torch.cat([take(f"{n}.weight") for n in names]),
                torch.cat([take(f"{n}.bias") for n in names]),
                gelu,
            )

        def norm(name: str) -> tuple[Tensor, Tensor]:
            return take(f"{name}.weight"), take(f"{name}.bias")

        self.hidden_size = int(config["hidden_size"])
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config.get("layer_norm_eps", 1e-12))
        self._first_position = (
            int(config.get("pad_token_id", 1)) + 1 if config["model_type"] in OFFSET_POSITIONS else 0
        )
        self._device = device
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        self._words, self._positions, self._segments = (take(f"embeddings.{name}.weight") for name in tables)
        self._embedding_norm = norm("embeddings.LayerNorm")
        self._layers = []
        for number in range(int(config["num_hidden_layers"])):
            at = f"encoder.layer.{number}"
            qkv = linear(*(f"{at}.attention.self.{part}" for part in ("query", "key", "value")))
            out, norm_1 = linear(f"{at}.attention.output.dense"), norm(f"{at}.attention.output.LayerNorm")
            up, down = linear(f"{at}.intermediate.dense", gelu=True), linear(f"{at}.output.dense")
            self._layers.append((qkv, out, norm_1, up, down, norm(f"{at}.output.LayerNorm")))
        if weights:
            raise KeyError(f"weights without a place: {', '.join(sorted(weights))}")

    def __call__(
        self, ids: Tensor, segments: Tensor, groups: Groups, *, wanted: Tensor | None = None
    ) -> Tensor:
        """The last hidden layer.

        Args:
            ids: token ids, int64, of all texts end to end.
            segments: segment ids, int64, likewise.
            groups: (length, how many texts) in order.
            wanted: the only tokens whose vectors are wanted, int64, so that the last layer works on nothing
                else; None: all.

        Returns:
            (tokens, hidden size), or (wanted, hidden size).

        Raises:
            IndexError: a token or segment id that the model has no embedding for.
        """
        check_ids(ids, segments, len(self._words), len(self._segments))
        positions = (
            torch.cat([torch.arange(length).repeat(count) for length, count in groups]) + self._first_position
        )
        # Only from pinned memory does a copy go on beside the work of the device.
        if self._device.type == "cuda":
            ids, segments, positions = (part.pin_memory() for part in (ids, segments, positions))
        ids, segments, positions = (
            part.to(self._device, non_blocking=True) for part in (ids, segments, positions)
        )
        x = (
            F.embedding(ids, self._words)
            + F.embedding(segments, self._segments)
            + F.embedding(positions, self._positions)
        )
        x = self._norm(x, self._embedding_norm)
        for number, (qkv, out, norm_1, up, down, norm_2) in enumerate(self._layers):
            with attention_of_any_shape(self._device):
                context = self._attention(qkv(x), groups)
            if wanted is not None and number == len(self._layers) - 1:
                wanted = wanted.to(self._device)
                context, x = context[wanted], x[wanted]
            x = self._norm(out(context).add_(x), norm_1)
            x = self._norm(down(up(x)).add_(x), norm_2)
        return x

    def _norm(self, x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        return F.layer_norm(x, (self.hidden_size,), *weights, self._eps)

    def _attention(self, qkv: Tensor, groups: Groups) -> Tensor:
        context = torch.empty((qkv.shape[0], self.hidden_size), dtype=qkv.dtype, device=qkv.device)
        start = 0
        for length, count in groups:
            end = start + length * count
            shape = (count, length, 3, self._heads, self.hidden_size // self._heads)
            q, k, v = qkv[start:end].view(shape).permute(2, 0, 3, 1, 4).unbind(0)
            attended = F.scaled_dot_product_attention(q, k, v)
            context[start:end].view(count, length, self._heads, -1).copy_(attended.transpose(1, 2))
            start = end
        return context


def load_packed(folder: Path, dtype: torch.dtype, device: torch.device) -> PackedBert | None:
    """The model in `folder`, or None where it is not exactly this architecture, down to the last weight."""
    config = model_config(folder)
    plain = {
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False, None),
        "add_cross_attention": (False, None),
    }
    if config.get("model_type") not in PACKED_FAMILIES or any(
        config.get(name, values[0]) not in values for name, values in plain.items()
    ):
        return None
    prefix = config["model_type"].replace("xlm-", "") + "."
    weights = {}
    for name, weight in _load_weights(folder).items():
        # Checkpoints made from TensorFlow's call the two parts of a layer norm gamma and beta.
        name = (
            name.removeprefix(prefix)
            .replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias")
        )
        if not name.startswith(_UNUSED):
            weights[name] = weight
    try:
        return PackedBert(config, weights, dtype, device)
    except KeyError:
        return None


def _load_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        found.update(load_file(path))
    return found


def check_ids(ids: Tensor, segments: Tensor | None, words: int, kinds: int) -> None:
    """Refuse ids that a model with so many embeddings of words and of segments lacks: on a GPU the look-up
    would end the process.

    Raises:
        IndexError: there is one.
    """
    if int(ids.max()) >= words:
        raise IndexError(f"token id {int(ids.max())}, but the model has {words} embeddings")
    if segments is not None and int(segments.max()) >= kinds:
        raise IndexError(
            f"segment id {int(segments.max())}, but the model has {kinds} embeddings of segments"
        )


def _linear(weight: Tensor, bias: Tensor, gelu: bool) -> Linear:
    """x -> x W' + b, then GELU where asked for (the exact one, by erf).

    On a CPU by oneDNN with weights laid out once and GELU in the same pass: on CPUs whose AVX-512 the default
    library leaves unused it is more than twice as fast, elsewhere about equal.
    """
    if weight.device.type == "cpu" and has_onednn(weight.dtype):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        after, how = ("gelu", "none") if gelu else ("none", "")
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, after, [], how)
    if gelu:
        return lambda x: F.gelu(F.linear(x, weight, bias))
    return lambda x: F.linear(x, weight, bias)
