"""The encoder: texts to vectors in plain torch, without Spark."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from newslake.text.bert import PackedBert, load_packed
from newslake.text.long_text import Pieces, pieces
from newslake.text.padded import PaddedModel
from newslake.text.pooling import Head, place_of, pooled
from newslake.text.spec import Kind, ResolvedEncoder
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

    Batches run beside each other in `threads` threads, each with one thread of torch's own: without the
    barriers of torch's parallel loops, two threads do twice the work of one also on a busy machine.
    """

    def __init__(
        self,
        resolved: ResolvedEncoder,
        kind: Kind = "article",
        *,
        device: str = "cpu",
        threads: int = 1,
        batch_tokens: int | None = None,
    ) -> None:
        """Load the model.

        Args:
            resolved: which files and settings.
            kind: of the texts; each has its prompt.
            device: as torch names it.
            threads: batches that run at once (on a GPU: 1).
            batch_tokens: tokens in a batch, but at least one text; None: what suits the device.

        Raises:
            JobFailed: the files on this machine are not those that were resolved, or do not fit each other.
        """
        settings, self._recipe = resolved.settings, resolved.recipe
        root = resolved.local_folder()
        folder = root / settings.transformer
        self._spec = resolved.spec
        self._device = torch.device(device)
        self._threads = max(1, threads) if self._device.type == "cpu" else 1
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(self._device.type, _BATCH_TOKENS["cuda"])
        prompt = self._recipe.prompt_of(kind)
        self.tokenizer = Tokenizer(folder, resolved.max_tokens, prompt=prompt, lower_case=settings.lower_case)
        self._skip = 0 if self._recipe.include_prompt else self.tokenizer.prompt_tokens
        dtype = _DTYPES[self._spec.precision]
        self._model: PackedBert | PaddedModel
        self._model = load_packed(folder, dtype, self._device) or PaddedModel(
            folder, dtype, self._device, self.tokenizer
        )
        self._head = Head(root, settings, self._recipe, self._model.hidden_size).to(self._device)
        self.dimension = self._head.size
        self.is_packed = isinstance(self._model, PackedBert)

    def encode(self, first: Sequence[str], second: Sequence[str] | None = None) -> Encoded:
        """Encode texts, each a pair of segments, or single where its second one is empty or there is none.

        A text at which the tokenizer or the model raises, or whose vector is not finite, gets its error and
        costs no other text its vector.
        """
        return self.encode_pieces(self.prepare(first, second))

    def prepare(self, first: Sequence[str], second: Sequence[str] | None = None) -> Pieces:
        """Tokenise texts, and bring long ones within the limit: work for the CPU, which may go on beside
        `encode_pieces`."""
        return pieces(self.tokenizer, self._spec.long_text, first, second)

    def encode_pieces(self, given: Pieces) -> Encoded:
        """Encode what `prepare` gave. The vector of a text in several pieces is their mean, each by its
        number of tokens."""
        errors = [
            f"tokenizer: {_line(piece)}" if isinstance(piece, Exception) else None for piece in given.tokens
        ]
        tokens = {i: piece for i, piece in enumerate(given.tokens) if isinstance(piece, TokenisedText)}
        vectors = np.full((len(errors), self.dimension), np.nan, dtype=np.float32)
        self._fill(tokens, vectors, errors)
        counts = np.array(
            [len(tokens[i].ids) if i in tokens else 0 for i in range(len(errors))], dtype=np.int32
        )
        if len(errors) > len(given.is_empty):
            vectors, counts, errors = self._means(given.text, len(given.is_empty), vectors, counts, errors)
        return Encoded(vectors, counts, given.is_empty, errors)

    def _means(
        self, text: np.ndarray, texts: int, vectors: np.ndarray, counts: np.ndarray, errors: list[str | None]
    ) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        """From pieces to texts: the mean vector, all tokens, and the first error among the pieces."""
        starts = np.searchsorted(text, np.arange(texts))
        totals = np.bincount(text, weights=counts, minlength=texts).astype(np.int32)
        found = vectors[starts]
        several = np.flatnonzero(np.bincount(text, minlength=texts) > 1)
        sums = np.add.reduceat(vectors.astype(np.float64) * counts[:, None], starts, axis=0)[several]
        if self._recipe.unit:
            sums /= np.linalg.norm(sums, axis=1, keepdims=True)
        else:
            sums /= totals[several, None]
        found[several] = sums
        failed: list[str | None] = [None] * texts
        for i in np.flatnonzero([error is not None for error in errors])[::-1]:
            failed[text[i]] = errors[i]
        found[[error is not None for error in failed]] = np.nan
        return found, totals, failed

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
            if self._device.type != "cpu":
                self._fill_ahead(batches, texts, vectors, errors)
            elif self._threads == 1:
                for batch in batches:
                    run(batch)
            else:
                with ThreadPoolExecutor(self._threads) as pool:
                    list(pool.map(run, batches))
        finally:
            torch.set_num_threads(before)

    @torch.inference_mode()
    def _fill_ahead(
        self,
        batches: list[list[int]],
        texts: dict[int, TokenisedText],
        vectors: np.ndarray,
        errors: list[str | None],
    ) -> None:
        """The next batch is on its way to the device before the last one's vectors are waited for."""
        waiting: list[tuple[list[int], Tensor]] = []
        for batch in batches:
            try:
                waiting.append((batch, self._model_vectors([texts[i] for i in batch])))
            except Exception:
                self._run(batch, texts, vectors, errors)
            if len(waiting) > 1:
                self._take(*waiting.pop(0), texts, vectors, errors)
        for last in waiting:
            self._take(*last, texts, vectors, errors)

    def _take(
        self,
        batch: list[int],
        made: Tensor,
        texts: dict[int, TokenisedText],
        vectors: np.ndarray,
        errors: list[str | None],
    ) -> None:
        try:
            pooled = self._on_host(made)
        except Exception:  # a device tells of a failure when it is asked for the result
            self._run(batch, texts, vectors, errors)
            return
        self._store(batch, pooled, vectors, errors)

    def _batches(self, order: Sequence[int], texts: dict[int, TokenisedText]) -> Iterator[list[int]]:
        """Cut texts sorted by length, longest first, where the tokens (padding counted) would exceed the
        budget."""
        batch: list[int] = []
        tokens = 0
        for i in order:
            length = len(texts[i].ids)
            longest = len(texts[batch[0]].ids) if batch else length
            cost = length if self.is_packed else longest
            if batch and (
                tokens + cost > self._batch_tokens
                or (not self.is_packed and length < longest * (1 - _PADDING))
            ):
                yield batch
                batch, tokens, cost = [], 0, length
            batch.append(i)
            tokens += cost
        if batch:
            yield batch

    def _run(
        self, batch: list[int], texts: dict[int, TokenisedText], vectors: np.ndarray, errors: list[str | None]
    ) -> None:
        try:
            pooled = self._pooled([texts[i] for i in batch])
        except Exception as error:
            if len(batch) == 1:
                errors[batch[0]] = f"model: {_line(error)}"
                return
            for i in batch:
                self._run([i], texts, vectors, errors)
            return
        self._store(batch, pooled, vectors, errors)

    def _store(
        self, batch: list[int], pooled: np.ndarray, vectors: np.ndarray, errors: list[str | None]
    ) -> None:
        vectors[batch] = pooled
        for i in (batch[row] for row in np.flatnonzero(~np.isfinite(pooled).all(axis=1))):
            vectors[i] = np.nan
            errors[i] = "model: the vector is not finite"

    def _pooled(self, texts: Sequence[TokenisedText]) -> np.ndarray:
        return self._on_host(self._model_vectors(texts))

    def _on_host(self, made: Tensor) -> np.ndarray:
        found: np.ndarray = self._head(made).cpu().numpy()
        return found

    def _model_vectors(self, texts: Sequence[TokenisedText]) -> Tensor:
        pooling, skip = self._recipe.pooling, self._skip
        if isinstance(self._model, PaddedModel):
            return self._model(texts, pooling, skip)
        groups = [(length, len(list(same))) for length, same in groupby(len(text.ids) for text in texts)]
        ids = torch.from_numpy(np.concatenate([text.ids for text in texts]))
        segments = torch.from_numpy(np.concatenate([text.segments for text in texts]))
        if pooling in ("cls", "last"):
            lengths = torch.tensor([len(text.ids) for text in texts])
            wanted = lengths.cumsum(0) - lengths + place_of(lengths, pooling, skip)
            return self._model(ids, segments, groups, wanted=wanted)
        hidden = self._model(ids, segments, groups)
        found, start = [], 0
        for length, count in groups:
            found.append(
                pooled(hidden[start : start + length * count].view(count, length, -1), None, pooling, skip)
            )
            start += length * count
        return torch.cat(found)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]
