"""Extractive summaries: the sentences most central to a text, in their order. Plain numpy over many texts at
once."""

import re
from collections.abc import Sequence

import numpy as np

MAX_SENTENCE = 400
"""Characters; what has no sentence end for longer is cut at a blank, so that no choice is all or nothing."""

# Chinese ends need no blank after them; English ones do, and closing quotes and brackets belong to the
# sentence.
_END = re.compile(r"[。！？；…]+[\"'”’」』）)\]]*|[.!?]+[\"'”’)\]]*(?=\s)|\n+")  # noqa: RUF001
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Sen|Rep|Gov|Capt|Lt|Col|Sgt|Rev|Hon|vs|etc|No|Inc|Ltd|Co|Corp"  # noqa: RUF001
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|approx|dept|est|min|max|fig|al)\.$"
)
_LONG = re.compile(rf"\S.{{0,{MAX_SENTENCE - 2}}}(?=\s|$)|\S{{{MAX_SENTENCE}}}", re.DOTALL)


def sentences(text: str) -> list[str]:
    """The sentences of an English or Chinese text, in order, without the blanks between them; none where
    there is no text.

    A full stop after an initial or a common abbreviation ends no sentence.
    """
    found, start = [], 0
    for end in _END.finditer(text):
        if end.group()[0] == "." and _ABBREVIATION.search(
            text, max(start, end.start() - 12), end.start() + 1
        ):
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [
        part for one in found if one for part in ([one] if len(one) <= MAX_SENTENCE else _LONG.findall(one))
    ]


def centrality(tokens: Sequence[Sequence[int]], text: np.ndarray) -> np.ndarray:
    """How central each sentence is to its text, float64, at most 1 within a text.

    The sentences of a text are the nodes of a graph, joined by the cosine of their token vectors (Mihalcea
    and Tarau, TextRank, EMNLP 2004; Erkan and Radev, LexRank, JAIR 2004), a token weighted by how few of the
    text's sentences hold it. A sentence's centrality is the sum of its cosines to the others: where a walk on
    the graph with all its edges ends up, without damping or threshold. The graph is never built, its sums are
    those of the sparse token vectors: linear in the length of the text. Following the graph's first
    eigenvector instead was worse on generated articles: it ends in one manner of speaking.

    Args:
        tokens: token ids of each sentence, of all texts one after another.
        text: (sentences,) int, ascending: which text each belongs to.
    """
    lengths = np.array([len(one) for one in tokens], dtype=np.int64)
    if not lengths.sum():
        return np.ones(len(tokens))
    # A token of one text and the same token of another are two terms: the texts stand side by side in one
    # sparse matrix.
    flat = np.concatenate([np.asarray(one, dtype=np.int64) for one in tokens])
    width = int(flat.max()) + 1
    owner = np.repeat(np.arange(len(tokens)), lengths)
    _, term = np.unique(text[owner] * width + flat, return_inverse=True)
    terms = int(term.max()) + 1
    keys, counts = np.unique(owner * terms + term, return_counts=True)
    row, column = keys // terms, keys % terms
    number = np.bincount(text)[text[row]]
    held = np.bincount(column, minlength=terms)[column]
    rarity = np.log1p((number - held + 0.5) / (held + 0.5))
    weight: np.ndarray = (1.0 + np.log(counts)) * rarity
    weight /= np.sqrt(np.bincount(row, weights=weight * weight, minlength=len(tokens)))[row]
    summed = np.bincount(column, weights=weight, minlength=terms)
    itself = np.bincount(row, weights=weight * weight, minlength=len(tokens))
    scores = np.maximum(
        np.bincount(row, weights=weight * summed[column], minlength=len(tokens)) - itself, 0.0
    )
    starts = np.flatnonzero(np.diff(text, prepend=text[0] - 1))
    place = np.cumsum(np.diff(text, prepend=text[0]) != 0)
    most = np.maximum.reduceat(scores, starts)[place]
    return np.asarray(np.where(most > 0.0, scores / np.where(most > 0.0, most, 1.0), 1.0))


def chosen(tokens: Sequence[Sequence[int]], text: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Which sentences make the summaries: the most central ones that fit, bool (sentences,). A repeated
    sentence counts once.

    Args:
        tokens: token ids of each sentence, of all texts one after another.
        text: (sentences,) int, ascending, 0 .. texts - 1: which text each belongs to.
        room: (texts,): tokens that a summary may have. Where not even the most central sentence fits, it is
            taken alone.
    """
    seen: set[tuple[int, bytes]] = set()
    first = np.zeros(len(tokens), dtype=bool)
    for i, one in enumerate(tokens):
        key = (int(text[i]), np.asarray(one, dtype=np.int64).tobytes())
        first[i] = key not in seen
        seen.add(key)
    kept = np.flatnonzero(first)
    owner = text[kept]
    scores = centrality([tokens[i] for i in kept.tolist()], owner)
    order = np.lexsort((np.arange(len(kept)), -np.round(scores, 9), owner))
    lengths = np.array([len(tokens[i]) for i in kept[order].tolist()], dtype=np.int64)
    total = np.cumsum(lengths)
    heads = np.flatnonzero(np.diff(owner, prepend=-1))
    before = (total - lengths)[heads]
    used = total - before[np.cumsum(np.diff(owner, prepend=owner[0]) != 0)]
    fits = used <= room[owner]
    fits[heads] = True
    result = np.zeros(len(tokens), dtype=bool)
    result[kept[order[fits]]] = True
    return result
