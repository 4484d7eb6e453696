"""Tokenising many texts in one call, with the token ids that transformers' own tokenizer gives for each
alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer

from newslake.errors import JobFailed

_UNKNOWN_LENGTH = 1 << 40
# Room that a prompt leaves: special tokens, and at least some text.
_FEWEST_TOKENS = 8


@dataclass(frozen=True)
class TokenisedText:
    """One text: token ids and segment ids, both int64 of the same length, special tokens in them; is_cut: it
    has more."""

    ids: np.ndarray
    segments: np.ndarray
    is_cut: bool = False


@dataclass(frozen=True)
class _Layout:
    """Where special tokens go: before, between and after the segments (single texts: before and after), as
    (id, segment)."""

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]
    segments: tuple[int, int]

    @property
    def special_tokens(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class Tokenizer:
    """A model's tokenizer at one length limit. Texts are pairs of segments, or single where their second one
    is empty."""

    def __init__(self, folder: Path, max_tokens: int, *, prompt: str = "", lower_case: bool = False) -> None:
        """Load the tokenizer of the model in `folder`.

        Args:
            folder: of the transformer.
            max_tokens: of a text, special tokens and the prompt's counted.
            prompt: stands before each text.
            lower_case: bring texts to lower case, where the tokenizer itself does not.

        Raises:
            JobFailed: the folder has no vocabulary.
        """
        self._own = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        if not set(self._own.get_vocab()) - set(self._own.all_special_tokens):
            raise JobFailed(f"no tokenizer in {folder}: it knows no word but its special tokens")
        self.max_tokens = max_tokens
        self.pad_id = int(self._own.pad_token_id or 0)
        self.has_segments = "token_type_ids" in self._own.model_input_names
        self._prompt, self._lower = prompt, lower_case
        self._fast: FastTokenizer | None = None
        if getattr(self._own, "backend_tokenizer", None) is not None and self._own.truncation_side == "right":
            # A copy that neither truncates nor pads. Truncating here instead of there is not only about
            # speed: the library keeps what it cuts off, and for a pair of long segments every combination of
            # both remainders.
            self._fast = FastTokenizer.from_str(self._own.backend_tokenizer.to_str())
            self._fast.no_truncation()
            self._fast.no_padding()
            self._single, self._pair = _layout(self._fast.encode("a")), _layout(self._fast.encode("a", "a"))
        self._joint = " " if self._is_glued() else ""
        prompt_alone = [int(i) for i in self.one("").ids] if prompt else []
        # As sentence-transformers counts: with what stands before a text, without what ends it.
        self.prompt_tokens = len(prompt_alone) - (
            bool(prompt_alone) and prompt_alone[-1] in self._own.all_special_ids
        )
        self._prompt_own = (
            len(prompt_alone) - int(self._own.num_special_tokens_to_add(pair=False)) if prompt else 0
        )
        if prompt and self._prompt_own + _FEWEST_TOKENS > max_tokens:
            raise JobFailed(
                f"a prompt of {self._prompt_own} tokens leaves no room for a text in {max_tokens}: raise"
                " --max-tokens"
            )

    def _is_glued(self) -> bool:
        """Whether the tokenizer's pair would make one word of the first text's last and the second's
        first."""
        pair = list(self._own("a", "a")["input_ids"])
        alone, apart = self.own_tokens(["a", "a a"])
        doubled = alone + alone
        return apart != doubled and any(pair[i : i + len(doubled)] == doubled for i in range(len(pair)))

    def special_tokens(self, pair: bool) -> int:
        """How many tokens a text has beyond its own, the prompt's among them."""
        return int(self._own.num_special_tokens_to_add(pair=pair)) + self._prompt_own

    def are_empty(self, counts: Sequence[int], first: Sequence[str], second: Sequence[str]) -> list[bool]:
        """Whether texts of so many tokens have none of their own."""
        few = [
            i
            for i, (count, b) in enumerate(zip(counts, second, strict=True))
            if count <= self.special_tokens(pair=bool(b))
        ]
        if not self._prompt:
            return [i in set(few) for i in range(len(counts))]
        # The prompt's last token may have become one with the text's first.
        own = dict(zip(few, self._own_tokens_or_none([first[i] + second[i] for i in few]), strict=True))
        return [i in own and not own[i] for i in range(len(counts))]

    def one(self, first: str, second: str = "") -> TokenisedText:
        """One text by transformers' own call; may raise what the tokenizer raises."""
        first, second = self._written(first, second)
        found = self._own(first, second or None, truncation="longest_first", max_length=self.max_tokens)
        ids = np.asarray(found["input_ids"], dtype=np.int64)
        segments = (
            np.asarray(found["token_type_ids"], dtype=np.int64) if self.has_segments else np.zeros_like(ids)
        )
        # Of a text that just fits too: no harm in that.
        return TokenisedText(ids, segments, len(ids) >= self.max_tokens)

    def _written(self, first: str, second: str) -> tuple[str, str]:
        """The pair as the tokenizer is given it."""
        first, second = self._prompt + first, self._joint + second if second else ""
        return (first.lower(), second.lower()) if self._lower else (first, second)

    def _own_tokens_or_none(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = []
        for text in texts:
            try:
                found += self.own_tokens([text])
            except Exception:  # it has its error already
                found.append([])
        return found

    def own_tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of whole texts, without special tokens; may raise what the tokenizer raises."""
        texts = [text.lower() for text in texts] if self._lower else texts
        if self._fast is not None:
            return _ids(self._fast, texts)
        return [list(self._own(text, add_special_tokens=False)["input_ids"]) for text in texts]

    def many(
        self, first: Sequence[str], second: Sequence[str] | None = None
    ) -> list[TokenisedText | Exception]:
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
        pairs = [self._written(a, b) for a, b in pairs]
        heads = [(self._head(a), self._head(b)) for a, b in pairs]
        found = list(zip(_ids(fast, (a for a, _ in heads)), _ids(fast, (b for _, b in heads)), strict=True))
        texts = [self._joined(pair, head, ids) for pair, head, ids in zip(pairs, heads, found, strict=True)]
        again = [i for i, text in enumerate(texts) if text is None]
        whole = zip(
            _ids(fast, (pairs[i][0] for i in again)), _ids(fast, (pairs[i][1] for i in again)), strict=True
        )
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

    def _joined(
        self, pair: tuple[str, str], head: tuple[str, str], ids: tuple[list[int], list[int]]
    ) -> TokenisedText | None:
        """Truncate and put the special tokens in; None where the heads do not tell what the whole text
        gives."""
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
        tokens = [
            *(i for i, _ in layout.before),
            *a,
            *(i for i, _ in layout.between),
            *b,
            *(i for i, _ in layout.after),
        ]
        segments = np.zeros(len(tokens), dtype=np.int64)
        if not self.has_segments:  # the model was not made for them, whatever the template says
            return TokenisedText(np.asarray(tokens, dtype=np.int64), segments, lengths[0] + lengths[1] > room)
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
    return _Layout(
        before, [] if single else between, between if single else after, (segments[0], segments[1])
    )


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each segment stay when the longer one gives way: the rule of the tokenizers
    library."""
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (long, short) if first > second else (short, long)
