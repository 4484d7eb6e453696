"""What happens to texts over the encoder's limit: cut at its end, summarised, or read in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from newslake.text.spec import LongText
from newslake.text.summary import chosen, sentences
from newslake.text.tokens import TokenisedText, Tokenizer

Pair = tuple[str, str]


@dataclass(frozen=True)
class Pieces:
    """What the model reads of n texts.

    Attributes:
        tokens: of every piece, or what the tokenizer raised at it.
        text: int64 (pieces,), ascending: which text each is of; every text has one piece, or several where it
            is read in chunks.
        is_empty: bool (n,): the text has no token of its own.
    """

    tokens: list[TokenisedText | Exception]
    text: np.ndarray
    is_empty: np.ndarray


def pieces(
    tokenizer: Tokenizer, how: LongText, first: Sequence[str], second: Sequence[str] | None = None
) -> Pieces:
    """Tokenise texts, and bring those over the tokenizer's limit within it.

    Args:
        tokenizer: cuts what is too long at the end of the longer segment.
        how: `truncate` leaves it at that; `summarize` keeps the first segment (the title) and of the second
            the most central sentences that fit, in their order; `mean-of-chunks` makes as many pieces as it
            takes, the first segment in each.
        first: the first segments.
        second: the second ones, or None; empty: a single text.
    """
    pairs = list(zip(first, second if second is not None else [""] * len(first), strict=True))
    tokens = tokenizer.many(first, second)
    made: dict[int, list[TokenisedText | Exception]] = {}
    if how != "truncate":
        long = [i for i, one in enumerate(tokens) if isinstance(one, TokenisedText) and one.is_cut]
        shorter = _shorter(tokenizer, how, [pairs[i] for i in long])
        made = dict(zip(long, shorter, strict=True))
    of_text = [made.get(i, [one]) for i, one in enumerate(tokens)]
    owner = np.repeat(np.arange(len(pairs)), [len(one) for one in of_text])
    counts = [len(one.ids) if isinstance(one, TokenisedText) else 0 for one in tokens]
    empty = tokenizer.are_empty(counts, [a for a, _ in pairs], [b for _, b in pairs])
    return Pieces([piece for one in of_text for piece in one], owner, np.array(empty, dtype=bool))


def _shorter(tokenizer: Tokenizer, how: LongText, pairs: list[Pair]) -> list[list[TokenisedText | Exception]]:
    """The pieces of long texts, all at once; where that raises, each alone, so that one costs no other its
    pieces."""
    if not pairs:
        return []
    try:
        made = _summaries(tokenizer, pairs) if how == "summarize" else _chunks(tokenizer, pairs)
    except Exception as error:
        if len(pairs) == 1:
            return [[error]]
        return [_shorter(tokenizer, how, [pair])[0] for pair in pairs]
    flat = [pair for one in made for pair in one]
    tokens = iter(tokenizer.many([a for a, _ in flat], [b for _, b in flat]))
    return [[next(tokens) for _ in one] for one in made]


@dataclass(frozen=True)
class _Sentences:
    """The sentences of one segment of many texts: their tokens, and which text each belongs to."""

    parts: list[str]
    tokens: list[list[int]]
    text: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer, segments: Sequence[str]) -> "_Sentences":
        parts = [sentences(segment) for segment in segments]
        flat = [part for one in parts for part in one]
        return cls(
            flat, tokenizer.own_tokens(flat), np.repeat(np.arange(len(segments)), [len(one) for one in parts])
        )

    def lengths(self, texts: int) -> np.ndarray:
        """Tokens of each text's segment."""
        return np.bincount(self.text, weights=[len(one) for one in self.tokens], minlength=texts).astype(
            np.int64
        )

    def of_one(self, text: int) -> list[tuple[str, int]]:
        """The sentences of one text, each with its number of tokens."""
        start, stop = np.searchsorted(self.text, [text, text + 1])
        return [(self.parts[i], len(self.tokens[i])) for i in range(start, stop)]

    def summaries(self, room: np.ndarray) -> list[str]:
        """The segment of each text, brought down to `room` (texts,) tokens."""
        kept: list[list[str]] = [[] for _ in room]
        for i in np.flatnonzero(chosen(self.tokens, self.text, room)) if self.parts else []:
            kept[self.text[i]].append(self.parts[i])
        return [" ".join(one) for one in kept]


def _summaries(tokenizer: Tokenizer, pairs: list[Pair]) -> list[list[Pair]]:
    heads, rests = (_Sentences.of(tokenizer, [pair[side] for pair in pairs]) for side in (0, 1))
    room = np.array([tokenizer.max_tokens - tokenizer.special_tokens(pair=bool(b)) for _, b in pairs])
    head, rest = heads.lengths(len(pairs)), rests.lengths(len(pairs))
    # A first segment as long as a title stays whole; one that would crowd the second out is summarised
    # itself.
    head_room = np.minimum(head, np.maximum(room // 2, room - rest))
    shortened = heads.summaries(head_room)
    first = [b if cut else a for (a, _), b, cut in zip(pairs, shortened, head > head_room, strict=True)]
    second = rests.summaries(room - head_room)
    return [[pair] for pair in zip(first, second, strict=True)]


def _chunks(tokenizer: Tokenizer, pairs: list[Pair]) -> list[list[Pair]]:
    heads, rests = (_Sentences.of(tokenizer, [pair[side] for pair in pairs]) for side in (0, 1))
    head = heads.lengths(len(pairs))
    made: list[list[Pair]] = []
    for number, (a, b) in enumerate(pairs):
        room = tokenizer.max_tokens - tokenizer.special_tokens(pair=bool(b))
        fits = bool(b) and head[number] <= room // 2
        # A first segment that would leave no room beside it is read in chunks like the rest.
        sides = [rests] if fits else [heads, rests]
        mine = [part for side in sides for part in side.of_one(number)]
        groups = _grouped(
            mine, room - head[number] if fits else tokenizer.max_tokens - tokenizer.special_tokens(pair=False)
        )
        made.append([(a, group) if fits else (group, "") for group in groups] or [(a, b)])
    return made


def _grouped(parts: list[tuple[str, int]], room: int) -> list[str]:
    """Sentences one after another, in groups of about equal size that fit."""
    total = sum(length for _, length in parts)
    target = total / max(-(-total // max(room, 1)), 1)
    groups: list[list[str]] = []
    used = 0
    for part, length in parts:
        if not groups or used + length > room or used >= target:
            groups.append([])
            used = 0
        groups[-1].append(part)
        used += length
    return [" ".join(one) for one in groups]
