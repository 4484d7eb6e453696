"""BERT over texts laid end to end: no padding, no mask, one matrix product for query, key and value.

The architecture is that of Devlin et al. (NAACL 2019), RoBERTa's (Liu et al. 2019) where positions are offset. Loading it
here instead of through transformers also saves each Python worker several seconds of imports.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from newslake.text.attention import attention_of_any_shape
from newslake.text.kernels import Groups, Linear, check_ids, linear, positions, to_device
from newslake.text.weights import OFFSET_POSITIONS


class PackedBert:
    """The encoder's last hidden layer.

    A batch is the tokens of its texts one after another, texts of equal length side by side: `groups` are (length, how
    many) in that order. Every layer but attention works on single tokens, so that nothing is padded; attention takes one
    group at a time.
    """

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor], dtype: torch.dtype, device: torch.device) -> None:
        """Take the weights by their names in transformers' checkpoints, without the family's prefix."""

        def take(name: str) -> Tensor:
            return weights.pop(name).to(device=device, dtype=dtype).contiguous()

        def joined(*names: str, gelu: bool = False) -> Linear:
            return linear(torch.cat([take(f"{n}.weight") for n in names]), torch.cat([take(f"{n}.bias") for n in names]), gelu)

        def norm(name: str) -> tuple[Tensor, Tensor]:
            return take(f"{name}.weight"), take(f"{name}.bias")

        self.hidden_size = int(config["hidden_size"])
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config.get("layer_norm_eps", 1e-12))
        self._first_position = int(config.get("pad_token_id", 1)) + 1 if config["model_type"] in OFFSET_POSITIONS else 0
        self._device = device
        tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        self._words, self._positions, self._segments = (take(f"embeddings.{name}.weight") for name in tables)
        self._embedding_norm = norm("embeddings.LayerNorm")
        self._layers = []
        for number in range(int(config["num_hidden_layers"])):
            at = f"encoder.layer.{number}"
            qkv = joined(*(f"{at}.attention.self.{part}" for part in ("query", "key", "value")))
            out, norm_1 = joined(f"{at}.attention.output.dense"), norm(f"{at}.attention.output.LayerNorm")
            up, down = joined(f"{at}.intermediate.dense", gelu=True), joined(f"{at}.output.dense")
            self._layers.append((qkv, out, norm_1, up, down, norm(f"{at}.output.LayerNorm")))
        if weights:
            raise KeyError(f"weights without a place: {', '.join(sorted(weights))}")

    def __call__(self, ids: Tensor, segments: Tensor, groups: Groups, *, wanted: Tensor | None = None) -> Tensor:
        """The last hidden layer.

        Args:
            ids: token ids, int64, of all texts end to end.
            segments: segment ids, int64, likewise.
            groups: (length, how many texts) in order.
            wanted: the only tokens whose vectors are wanted, int64, so that the last layer works on nothing else; None: all.

        Returns:
            (tokens, hidden size), or (wanted, hidden size).

        Raises:
            IndexError: a token or segment id that the model has no embedding for.
        """
        check_ids(ids, segments, len(self._words), len(self._segments))
        ids, segments, places = to_device(self._device, ids, segments, positions(groups) + self._first_position)
        x = F.embedding(ids, self._words) + F.embedding(segments, self._segments) + F.embedding(places, self._positions)
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
