"""Tokenising many texts in one call, with the token ids that transformers' own tokenizer gives for each alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer

_UNKNOWN_LENGTH = 1 << 40


@dataclass(frozen=True)
class TokenisedText:
    """One text: token ids and segment ids, both int64 of the same length, special tokens in them; is_cut: it has more."""

    ids: np.ndarray
    segments: np.ndarray
    is_cut: bool = False


@dataclass(frozen=True)
class _Layout:
    """Where special tokens go: before, between and after the segments (single texts: before and after), as (id, segment)."""

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]
    segments: tuple[int, int]

    @property
    def special_tokens(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class Tokenizer:
    """A model's tokenizer at one length limit. Texts are pairs of segments, or single where their second one is empty."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        """Load the tokenizer of the model in `folder`; `max_tokens` counts special tokens."""
        self._own = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        self.max_tokens = max_tokens
        self.pad_id = int(self._own.pad_token_id or 0)
        self.has_segments = "token_type_ids" in self._own.model_input_names
        self._fast: FastTokenizer | None = None
        if getattr(self._own, "backend_tokenizer", None) is not None and self._own.truncation_side == "right":
            # A copy that neither truncates nor pads. Truncating here instead of there is not only about speed: the
            # library keeps what it cuts off, and for a pair of long segments every combination of both remainders.
            self._fast = FastTokenizer.from_str(self._own.backend_tokenizer.to_str())
            self._fast.no_truncation()
            self._fast.no_padding()
            self._single, self._pair = _layout(self._fast.encode("a")), _layout(self._fast.encode("a", "a"))

    def special_tokens(self, pair: bool) -> int:
        """How many tokens a text has beyond its own."""
        return int(self._own.num_special_tokens_to_add(pair=pair))

    def one(self, first: str, second: str = "") -> TokenisedText:
        """One text by transformers' own call; may raise what the tokenizer raises."""
        found = self._own(first, second or None, truncation="longest_first", max_length=self.max_tokens)
        ids = np.asarray(found["input_ids"], dtype=np.int64)
        segments = np.asarray(found.get("token_type_ids", np.zeros_like(ids)), dtype=np.int64)
        return TokenisedText(ids, segments, len(ids) >= self.max_tokens)  # of a text that just fits too: no harm in that

    def own_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of whole texts, without special tokens; may raise what the tokenizer raises."""
        if self._fast is not None:
            return _ids(self._fast, texts)
        return [list(self._own(text, add_special_tokens=False)["input_ids"]) for text in texts]

    def many(self, first: Sequence[str], second: Sequence[str] | None = None) -> list[TokenisedText | Exception]:
        """All texts, in their order; a text at which the tokenizer raises has the exception in its place."""
        pairs = list(zip(first, second if second is not None else [""] * len(first), strict=True))
        if self._fast is not None:
            try:
                return list(self._in_one_call(self._fast, pairs))
            except Exception:
                pass  # one of them: found by taking each alone
        return [self._tried(pair) for pair in pairs]

    def _tried(self, pair: tuple[str, str]) -> TokenisedText | Exception:
        try:
            return self._in_one_call(self._fast, [pair])[0] if self._fast is not None else self.one(*pair)
        except Exception as error:
            return error

    def _in_one_call(self, fast: FastTokenizer, pairs: Sequence[tuple[str, str]]) -> list[TokenisedText]:
        heads = [(self._head(a), self._head(b)) for a, b in pairs]
        found = list(zip(_ids(fast, (a for a, _ in heads)), _ids(fast, (b for _, b in heads)), strict=True))
        texts = [self._joined(pair, head, ids) for pair, head, ids in zip(pairs, heads, found, strict=True)]
        again = [i for i, text in enumerate(texts) if text is None]
        whole = zip(_ids(fast, (pairs[i][0] for i in again)), _ids(fast, (pairs[i][1] for i in again)), strict=True)
        for i, ids in zip(again, whole, strict=True):
            texts[i] = self._joined(pairs[i], pairs[i], ids)
        return [text for text in texts if text is not None]

    def _head(self, text: str) -> str:
        """The start of a long text, cut at a blank: enough words for max_tokens, unless words vanish.

        Tokenising all of a long article to drop most of it costs as much as encoding what is left.
        """
        words = 2 * self.max_tokens
        if len(text) <= 8 * words:
            return text
        parts = text.split(None, words)
        return text if len(parts) <= words else text[: len(text) - len(parts[-1])]

    def _joined(self, pair: tuple[str, str], head: tuple[str, str], ids: tuple[list[int], list[int]]) -> TokenisedText | None:
        """Truncate and put the special tokens in; None where the heads do not tell what the whole text gives."""
        layout = self._pair if pair[1] else self._single
        room = self.max_tokens - layout.special_tokens
        is_cut = [given != whole for given, whole in zip(head, pair, strict=True)]
        lengths = [_UNKNOWN_LENGTH if cut else len(part) for cut, part in zip(is_cut, ids, strict=True)]
        kept = _longest_first(lengths[0], lengths[1], room)
        for this, other in ((0, 1), (1, 0)):
            # What is kept must lie in the head, and it must be certain which segment is the longer.
            if is_cut[this] and (is_cut[other] or len(ids[this]) < max(kept[this], len(ids[other]))):
                return None
        a, b = ids[0][: kept[0]], ids[1][: kept[1]]
        tokens = [*(i for i, _ in layout.before), *a, *(i for i, _ in layout.between), *b, *(i for i, _ in layout.after)]
        segments = np.zeros(len(tokens), dtype=np.int64)
        start = 0
        for value, count in (
            *((s, 1) for _, s in layout.before),
            (layout.segments[0], len(a)),
            *((s, 1) for _, s in layout.between),
            (layout.segments[1], len(b)),
            *((s, 1) for _, s in layout.after),
        ):
            segments[start : start + count] = value
            start += count
        return TokenisedText(np.asarray(tokens, dtype=np.int64), segments, lengths[0] + lengths[1] > room)


def _ids(fast: FastTokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens; nothing for an empty one."""
    return [encoding.ids for encoding in fast.encode_batch_fast(list(texts), add_special_tokens=False)]


def _layout(encoding: Encoding) -> _Layout:
    """Learn from one text of the tokenizer's own where it puts special tokens."""
    parts: list[list[tuple[int, int]]] = [[], [], []]
    segments = [0, 0]
    seen = -1
    for token, segment, sequence in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
        if sequence is None:
            parts[seen + 1].append((token, segment))
        else:
            seen, segments[sequence] = sequence, segment
    before, between, after = parts
    single = seen == 0
    return _Layout(before, [] if single else between, between if single else after, (segments[0], segments[1]))


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each segment stay when the longer one gives way: the rule of the tokenizers library."""
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (long, short) if first > second else (short, long)
