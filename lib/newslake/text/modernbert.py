"""ModernBERT over texts laid end to end (Warner et al., Smarter, Better, Faster, Longer, ACL 2025): see `PackedBert`.

Positions are rotations of queries and keys (Su et al., RoFormer, 2021), two layers of three see only what is near, and the
feed-forward part is gated.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from newslake.text.attention import attention_of_any_shape
from newslake.text.kernels import Groups, Linear, check_ids, linear, to_device

_FULL, _NEAR = "full_attention", "sliding_attention"
_BASES = {_FULL: ("global_rope_theta", 160_000.0), _NEAR: ("local_rope_theta", 10_000.0)}


class PackedModernBert:
    """The encoder's last hidden layer; as PackedBert is called."""

    def __init__(self, config: dict[str, Any], weights: dict[str, Tensor], dtype: torch.dtype, device: torch.device) -> None:
        """Take the weights by their names in transformers' checkpoints, without the family's prefix.

        Raises:
            KeyError: one is missing, or there is one too many, or positions are scaled.
        """

        def take(name: str) -> Tensor | None:
            found = weights.pop(name, None)
            return found if found is None else found.to(device=device, dtype=dtype).contiguous()

        def needed(name: str) -> Tensor:
            if (found := take(name)) is None:
                raise KeyError(name)
            return found

        def norm(name: str) -> tuple[Tensor, Tensor | None]:
            return needed(f"{name}.weight"), take(f"{name}.bias")

        def product(name: str) -> Linear:
            return linear(needed(f"{name}.weight"), take(f"{name}.bias"))

        self.hidden_size = int(config["hidden_size"])
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config.get("norm_eps", 1e-5))
        self._reach = int(config.get("local_attention", 128)) // 2
        self._dtype, self._device = dtype, device
        layers = int(config["num_hidden_layers"])
        every = int(config.get("global_attn_every_n_layers") or 3)
        self._kinds = list(config.get("layer_types") or [_NEAR if number % every else _FULL for number in range(layers)])
        self._frequencies = {kind: _frequencies(config, kind, self.hidden_size // self._heads) for kind in set(self._kinds)}
        self._words, self._embedding_norm = needed("embeddings.tok_embeddings.weight"), norm("embeddings.norm")
        self._layers = []
        for number in range(layers):
            at = f"layers.{number}"
            before = norm(f"{at}.attn_norm") if number else None
            qkv, out, norm_2 = product(f"{at}.attn.Wqkv"), product(f"{at}.attn.Wo"), norm(f"{at}.mlp_norm")
            self._layers.append((before, qkv, out, norm_2, product(f"{at}.mlp.Wi"), product(f"{at}.mlp.Wo")))
        self._final_norm = norm("final_norm")
        if weights:
            raise KeyError(f"weights without a place: {', '.join(sorted(weights))}")

    def __call__(self, ids: Tensor, segments: Tensor, groups: Groups, *, wanted: Tensor | None = None) -> Tensor:
        """The last hidden layer, as of PackedBert; there are no segments here.

        Raises:
            IndexError: a token id that the model has no embedding for.
        """
        check_ids(ids, None, len(self._words), 0)
        ids = to_device(self._device, ids)[0]
        longest = max(length for length, _ in groups)
        rotations = {kind: _rotations(frequencies, longest, self._device) for kind, frequencies in self._frequencies.items()}
        x = self._norm(F.embedding(ids, self._words), self._embedding_norm)
        for number, (before, qkv, out, norm_2, up, down) in enumerate(self._layers):
            kind = self._kinds[number]
            with attention_of_any_shape(self._device):
                context = self._attention(qkv(x if before is None else self._norm(x, before)), groups, kind, rotations[kind])
            if wanted is not None and number == len(self._layers) - 1:
                wanted = wanted.to(self._device)
                context, x = context[wanted], x[wanted]
            x = out(context).add_(x)
            value, gate = up(self._norm(x, norm_2)).chunk(2, dim=-1)
            x = down(F.gelu(value).mul_(gate)).add_(x)
        return self._norm(x, self._final_norm)

    def _norm(self, x: Tensor, weights: tuple[Tensor, Tensor | None]) -> Tensor:
        return F.layer_norm(x, (self.hidden_size,), *weights, self._eps)

    def _attention(self, qkv: Tensor, groups: Groups, kind: str, rotation: tuple[Tensor, Tensor]) -> Tensor:
        context = torch.empty((qkv.shape[0], self.hidden_size), dtype=qkv.dtype, device=qkv.device)
        start = 0
        for length, count in groups:
            end = start + length * count
            shape = (count, length, 3, self._heads, self.hidden_size // self._heads)
            q, k, v = qkv[start:end].view(shape).permute(2, 0, 3, 1, 4).unbind(0)
            q, k = (_rotated(part, *rotation) for part in (q, k))
            near = self._near(length) if kind == _NEAR and length > self._reach + 1 else None
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=near)
            context[start:end].view(count, length, self._heads, -1).copy_(attended.transpose(1, 2))
            start = end
        return context

    def _near(self, length: int) -> Tensor:
        """(length, length) bool: which tokens see each other."""
        places = torch.arange(length, device=self._device)
        return (places[:, None] - places[None, :]).abs() <= self._reach


def _frequencies(config: dict[str, Any], kind: str, size: int) -> Tensor:
    """How fast each pair of a head's numbers turns, in radians a token."""
    name, default = _BASES[kind]
    given = (config.get("rope_parameters") or {}).get(kind) or {}
    if given.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        raise KeyError("positions are scaled")
    base = float(given.get("rope_theta") or config.get(name) or default)
    return torch.as_tensor(base ** -(torch.arange(0, size, 2, dtype=torch.float32) / size))


def _rotations(frequencies: Tensor, longest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each place's angles, (longest, half a head)."""
    angles = torch.outer(torch.arange(longest, dtype=torch.float32), frequencies).to(device)
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Queries or keys (texts, heads, tokens, size) turned by their places; the first half's numbers pair with the second's."""
    length = x.shape[2]
    first, second = x.float().chunk(2, dim=-1)
    cosine, sine = cosine[:length], sine[:length]
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1).to(x.dtype)
