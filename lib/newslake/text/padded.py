"""Models of any other architecture, through transformers, with as much padding as a batch needs."""

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from newslake.text.attention import attention_of_any_shape
from newslake.text.bert import check_ids
from newslake.text.folder import Pooling
from newslake.text.pooling import pooled
from newslake.text.tokens import TokenisedText, Tokenizer


class PaddedModel:
    """A model of transformers that has a last hidden layer."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device, tokenizer: Tokenizer) -> None:
        """Load the model, from safetensors only."""
        from transformers import AutoModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(
            str(folder), dtype=dtype, trust_remote_code=False, use_safetensors=True
        )
        self._model = (model.get_encoder() if model.config.is_encoder_decoder else model).to(device).eval()
        self._device = device
        self._tokenizer = tokenizer
        self.hidden_size = int(model.config.hidden_size)
        table = self._model.get_input_embeddings()
        self._words = table.num_embeddings if isinstance(table, torch.nn.Embedding) else 1 << 62
        self._kinds = int(getattr(model.config, "type_vocab_size", None) or 1 << 62)
        takes = "token_type_ids" in inspect.signature(self._model.forward).parameters
        self._has_segments = tokenizer.has_segments and takes

    def __call__(self, texts: Sequence[TokenisedText], pooling: Pooling, skip: int = 0) -> Tensor:
        """The pooled vectors, see `pooled`: (texts, hidden size).

        Raises:
            IndexError: a token or segment id that the model has no embedding for.
        """
        longest = max(len(text.ids) for text in texts)
        ids = torch.from_numpy(np.concatenate([text.ids for text in texts]))
        segments = (
            torch.from_numpy(np.concatenate([text.segments for text in texts]))
            if self._has_segments
            else None
        )
        check_ids(ids, segments, self._words, self._kinds)
        lengths = torch.tensor([len(text.ids) for text in texts])
        mask = (torch.arange(longest)[None, :] < lengths[:, None]).long().to(self._device)
        inputs = {
            "input_ids": self._padded([text.ids for text in texts], longest, self._tokenizer.pad_id),
            "attention_mask": mask,
        }
        if self._has_segments:
            inputs["token_type_ids"] = self._padded([text.segments for text in texts], longest, 0)
        with attention_of_any_shape(self._device):
            hidden = self._model(**inputs).last_hidden_state
        return pooled(hidden, mask.bool(), pooling, skip)

    def _padded(self, rows: Sequence[np.ndarray], length: int, value: int) -> Tensor:
        out = np.full((len(rows), length), value, dtype=np.int64)
        for row, ids in zip(out, rows, strict=True):
            row[: len(ids)] = ids
        return torch.from_numpy(out).to(self._device)
