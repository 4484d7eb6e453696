"""The encoder: texts to vectors in plain torch, without Spark."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from newslake.text.bert import PackedBert, load_packed
from newslake.text.padded import PaddedModel
from newslake.text.spec import ResolvedEncoder
from newslake.text.tokens import TokenisedText, Tokenizer

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Tokens a batch. On a CPU what a batch touches should stay in the caches; a GPU wants to be kept busy.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
# Padding that the general path accepts within a batch, as a share of its longest text.
_PADDING = 1 / 16


@dataclass(frozen=True)
class Encoded:
    """Vectors of n texts, in their order.

    Attributes:
        vectors: float32 (n, dimension); NaN where a text failed.
        token_counts: int32 (n,), special tokens counted; 0 where the tokenizer failed.
        is_empty: bool (n,): the text has no token of its own.
        errors: n reasons; None where a text has its vector.
    """

    vectors: np.ndarray
    token_counts: np.ndarray
    is_empty: np.ndarray
    errors: list[str | None]


class Encoder:
    """A model with its tokenizer, pooling and precision on one device.

    Batches run beside each other in `threads` threads, each with one thread of torch's own: without the barriers of
    torch's parallel loops, two threads do twice the work of one also on a busy machine.
    """

    def __init__(self, resolved: ResolvedEncoder, *, device: str = "cpu", threads: int = 1, batch_tokens: int | None = None) -> None:
        """Load the model.

        Args:
            resolved: which files and settings.
            device: as torch names it.
            threads: batches that run at once (on a GPU: 1).
            batch_tokens: tokens in a batch, but at least one text; None: what suits the device.

        Raises:
            JobFailed: the files on this machine are not those that were resolved.
        """
        folder = resolved.local_folder()
        self._spec = resolved.spec
        self._device = torch.device(device)
        self._threads = max(1, threads) if self._device.type == "cpu" else 1
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cuda"])
        self.tokenizer = Tokenizer(folder, resolved.max_tokens)
        dtype = _DTYPES[self._spec.precision]
        self._model: PackedBert | PaddedModel
        self._model = load_packed(folder, dtype, self._device) or PaddedModel(folder, dtype, self._device, self.tokenizer)
        self.dimension = self._model.hidden_size
        self.is_packed = isinstance(self._model, PackedBert)

    def encode(self, first: Sequence[str], second: Sequence[str] | None = None) -> Encoded:
        """Encode texts, each a pair of segments, or single where its second one is empty or there is none.

        A text at which the tokenizer or the model raises, or whose vector is not finite, gets its error and costs no
        other text its vector.
        """
        found = self.tokenizer.many(first, second)
        errors = [f"tokenizer: {_line(text)}" if isinstance(text, Exception) else None for text in found]
        texts = {i: text for i, text in enumerate(found) if isinstance(text, TokenisedText)}
        vectors = np.full((len(found), self.dimension), np.nan, dtype=np.float32)
        self._fill(texts, vectors, errors)
        counts = np.array([len(texts[i].ids) if i in texts else 0 for i in range(len(found))], dtype=np.int32)
        own = [self.tokenizer.special_tokens(pair=False), self.tokenizer.special_tokens(pair=True)]
        special = np.array([own[bool(second is not None and second[i])] for i in range(len(found))], dtype=np.int32)
        return Encoded(vectors, counts, counts <= special, errors)

    def _fill(self, texts: dict[int, TokenisedText], vectors: np.ndarray, errors: list[str | None]) -> None:
        def run(batch: list[int]) -> None:
            with torch.inference_mode():
                self._run(batch, texts, vectors, errors)

        # Longest first, so that the threads end together.
        order = sorted(texts, key=lambda i: -len(texts[i].ids))
        batches = list(self._batches(order, texts))
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            if self._threads == 1:
                for batch in batches:
                    run(batch)
            else:
                with ThreadPoolExecutor(self._threads) as pool:
                    list(pool.map(run, batches))
        finally:
            torch.set_num_threads(before)

    def _batches(self, order: Sequence[int], texts: dict[int, TokenisedText]) -> Iterator[list[int]]:
        """Cut texts sorted by length, longest first, where the tokens (padding counted) would exceed the budget."""
        batch: list[int] = []
        tokens = 0
        for i in order:
            length = len(texts[i].ids)
            longest = len(texts[batch[0]].ids) if batch else length
            cost = length if self.is_packed else longest
            if batch and (tokens + cost > self._batch_tokens or (not self.is_packed and length < longest * (1 - _PADDING))):
                yield batch
                batch, tokens, cost = [], 0, length
            batch.append(i)
            tokens += cost
        if batch:
            yield batch

    def _run(self, batch: list[int], texts: dict[int, TokenisedText], vectors: np.ndarray, errors: list[str | None]) -> None:
        try:
            pooled = self._pooled([texts[i] for i in batch])
        except Exception as error:
            if len(batch) == 1:
                errors[batch[0]] = f"model: {_line(error)}"
                return
            for i in batch:
                self._run([i], texts, vectors, errors)
            return
        vectors[batch] = pooled
        for i in (batch[row] for row in np.flatnonzero(~np.isfinite(pooled).all(axis=1))):
            vectors[i] = np.nan
            errors[i] = "model: the vector is not finite"

    def _pooled(self, texts: Sequence[TokenisedText]) -> np.ndarray:
        vectors = self._model_vectors(texts).float()
        if self._spec.unit:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return vectors.cpu().numpy()

    def _model_vectors(self, texts: Sequence[TokenisedText]) -> Tensor:
        cls = self._spec.pooling == "cls"
        if isinstance(self._model, PaddedModel):
            return self._model(texts, first_only=cls)
        groups = [(length, len(list(same))) for length, same in groupby(len(text.ids) for text in texts)]
        ids = torch.from_numpy(np.concatenate([text.ids for text in texts]))
        segments = torch.from_numpy(np.concatenate([text.segments for text in texts]))
        hidden = self._model(ids, segments, groups, first_only=cls)
        if cls:
            return hidden
        means, start = [], 0
        for length, count in groups:
            means.append(hidden[start : start + length * count].view(count, length, -1).mean(1, dtype=torch.float32))
            start += length * count
        return torch.cat(means)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]
