"""The encoder inside a model: its last layers are trained with the recommender, the others stay as they
are."""

import inspect
from collections.abc import Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from newslake.errors import UserError
from newslake.text.attention import attention_of_any_shape
from newslake.text.pooling import Head, pooled
from newslake.text.spec import ResolvedEncoder
from newslake.training.data.texts import Texts, tokenizer_of

# Tokens of a batch, padding counted: on a CPU what a batch touches should stay in the caches, a GPU wants to
# be kept busy.
_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}


class TunedText(nn.Module):
    """Articles' vectors from their texts, by an encoder whose last layers learn.

    Texts are sorted by length, padded in batches that a budget of tokens bounds, and pooled as the encoder's
    frozen vectors were. The encoder's own dropout stays off, so that before the first step its vectors are
    the frozen ones.

    Only what learns is a parameter: frozen weights are buffers that are not saved, so no optimizer, message
    between processes, checkpoint or saved model has them, and no gradient is kept for the layers below.

    Args:
        texts: of all articles.
        layers: how many of the encoder's last layers learn.

    Raises:
        UserError: the model's layers are not a list of as many as its configuration says.
        JobFailed: the encoder's files are not there, or differ.
    """

    def __init__(self, texts: Texts, layers: int) -> None:
        super().__init__()
        self.model, stack = _load(texts.encoder)
        _freeze(self.model, stack[len(stack) - layers :])
        encoder, recipe = texts.encoder, texts.encoder.recipe
        self.head = Head(encoder.local_folder(), encoder.settings, recipe, int(self.model.config.hidden_size))
        _freeze(self.head, nn.ModuleList())
        self._pooling = recipe.pooling
        self._skip = 0 if recipe.include_prompt or not recipe.prompt else tokenizer_of(encoder).prompt_tokens
        self._pad = int(getattr(self.model.config, "pad_token_id", None) or 0)
        self._has_segments = "token_type_ids" in inspect.signature(self.model.forward).parameters
        self.tokens: Tensor
        self.segments: Tensor
        self.offsets: Tensor
        for name in ("tokens", "segments", "offsets"):
            self.register_buffer(name, torch.from_numpy(getattr(texts, name)), persistent=False)
        # Stays on the CPU, where batches are cut.
        self._lengths = torch.from_numpy(texts.offsets).diff()

    def train(self, mode: bool = True) -> Self:
        """See nn.Module; the encoder's dropout stays off."""
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, articles: Tensor, otherwise: Tensor) -> Tensor:
        """(n, size) vectors of articles (n,), float32; `otherwise` (size,) for those that have no text."""
        lengths = self._lengths[articles.cpu()]
        order = torch.argsort(lengths, descending=True, stable=True)
        in_order = articles[order.to(articles.device)]
        parts = [
            self._encoded(in_order[part], longest)
            for part, longest in self._batches(lengths[order], articles.device)
        ]
        without = int((lengths == 0).sum())
        vectors = torch.cat([*parts, otherwise.expand(without, -1)])
        return vectors[torch.argsort(order).to(articles.device)]

    def _batches(self, lengths: Tensor, device: torch.device) -> Iterator[tuple[slice, int]]:
        """Parts of texts of these lengths, longest first, within the budget of tokens, and the longest of
        each."""
        budget = _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cuda"])
        start, end = 0, int((lengths > 0).sum())
        while start < end:
            longest = int(lengths[start])
            stop = min(end, start + max(1, budget // longest))
            yield slice(start, stop), longest
            start = stop

    def _encoded(self, articles: Tensor, longest: int) -> Tensor:
        start = self.offsets[articles].unsqueeze(1)
        place = torch.arange(longest, device=articles.device)
        there = place < self.offsets[articles + 1].unsqueeze(1) - start
        at = torch.where(there, start + place, 0)
        inputs = {
            "input_ids": torch.where(there, self.tokens[at].long(), self._pad),
            "attention_mask": there.long(),
        }
        if self._has_segments:
            inputs["token_type_ids"] = torch.where(there, self.segments[at].long(), 0)
        with attention_of_any_shape(articles.device):
            hidden: Tensor = self.model(**inputs).last_hidden_state
        vectors: Tensor = self.head(pooled(hidden, there, self._pooling, self._skip))
        return vectors


def _load(encoder: ResolvedEncoder) -> tuple[Any, nn.ModuleList]:
    """The model, from safetensors only, and its layers."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = str(encoder.local_folder() / encoder.settings.transformer)
    model: Any = AutoModel.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    # Works on the last hidden layer, which is all that is read.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return model, module
    raise UserError(
        f"--tune-layers: {encoder.name} does not hold its layers as a list, so its last ones cannot be told:"
        " take another encoder"
    )


def _freeze(model: nn.Module, tuned: nn.ModuleList) -> None:
    """Turn all weights but those of `tuned` into buffers that no state_dict has."""
    kept = {id(weight) for weight in tuned.parameters()}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) not in kept:
                delattr(module, name)
                module.register_buffer(name, weight.detach(), persistent=False)
