"""From token vectors to one vector: pooling, and what follows it, as sentence-transformers' modules have
it."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from newslake.errors import JobFailed
from newslake.text.folder import UNIT_STEP, FolderSettings, Pooling
from newslake.text.spec import Recipe


def pooled(hidden: Tensor, mask: Tensor | None, pooling: Pooling, skip: int = 0) -> Tensor:
    """One vector of each text: (texts, size), float32.

    Args:
        hidden: (texts, tokens, size), padded at the end.
        mask: (texts, tokens) bool: which tokens are the texts'; None: all.
        pooling: see EncoderSpec. With `weightedmean` the n-th token weighs n (Muennighoff, SGPT, 2022), the
            skipped ones counted.
        skip: the first tokens of each text that do not count; where a text has no others, its first does for
            `cls`.
    """
    texts, tokens, _ = hidden.shape
    if pooling in ("cls", "last"):
        lengths = torch.full((texts,), tokens, device=hidden.device) if mask is None else mask.sum(1)
        return hidden[torch.arange(texts, device=hidden.device), place_of(lengths, pooling, skip)].float()
    if mask is None and pooling == "mean" and not skip:
        return hidden.mean(1, dtype=torch.float32)
    counts = (
        torch.ones(texts, tokens, dtype=torch.bool, device=hidden.device) if mask is None else mask.clone()
    )
    counts[:, :skip] = False
    if pooling == "max":
        return hidden.float().masked_fill(~counts[:, :, None], -torch.inf).amax(1)
    weights = counts.float()
    if pooling == "weightedmean":
        weights = weights * torch.arange(1, tokens + 1, device=hidden.device)
    return (hidden.float() * weights[:, :, None]).sum(1) / weights.sum(1).clamp(min=1e-9)[:, None]


def place_of(lengths: Tensor, pooling: Pooling, skip: int = 0) -> Tensor:
    """(texts,): which of its tokens is a text's vector, of `cls` and `last`."""
    return lengths - 1 if pooling == "last" else torch.where(lengths > skip, skip, 0)


class Head(nn.Module):
    """What the pooled vectors go through: Dense modules and what lies between them, the cut to fewer numbers,
    length 1.

    Nothing of it learns.
    """

    def __init__(self, folder: Path, settings: FolderSettings, recipe: Recipe, size: int) -> None:
        """Load it.

        Args:
            folder: of the model, which holds the Dense modules' folders.
            settings: what it goes through.
            recipe: the cut, and whether length 1 is wanted.
            size: of the pooled vectors.

        Raises:
            JobFailed: a module takes vectors of another size, or more dimensions are asked for than there
                are.
        """
        super().__init__()
        # Whether the last step is taken is the recipe's to say.
        names = settings.steps[:-1] if settings.steps[-1:] == (UNIT_STEP,) else settings.steps
        steps: list[nn.Module] = []
        for name in names:
            if name == UNIT_STEP:
                steps.append(_Unit())
                continue
            linear, activation = _dense(folder / name)
            if linear.in_features != size:
                raise JobFailed(
                    f"{name} in {folder} takes vectors of {linear.in_features} numbers, not of {size}"
                )
            size = linear.out_features
            steps += [linear, activation]
        self.steps = nn.ModuleList(steps)
        if recipe.dimensions is not None and recipe.dimensions > size:
            raise JobFailed(f"--dimensions {recipe.dimensions}: {folder.name} gives {size}")
        self.dimensions, self.unit = recipe.dimensions, recipe.unit
        self.size = recipe.dimensions or size
        self.requires_grad_(False)

    def forward(self, vectors: Tensor) -> Tensor:
        """(texts, size of pooled vectors) -> (texts, `size`), float32."""
        vectors = vectors.float()
        for step in self.steps:
            vectors = step(vectors)
        vectors = vectors[:, : self.dimensions]
        return nn.functional.normalize(vectors, dim=1) if self.unit else vectors


class _Unit(nn.Module):
    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=1)


def _dense(folder: Path) -> tuple[nn.Linear, nn.Module]:
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    linear = nn.Linear(
        int(config["in_features"]), int(config["out_features"]), bias=bool(config.get("bias", True))
    )
    weights = load_file(folder / "model.safetensors")
    linear.load_state_dict({name.removeprefix("linear."): weight.float() for name, weight in weights.items()})
    # The driver has checked that torch has it.
    activation: nn.Module = getattr(
        nn, str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    )()
    return linear, activation
