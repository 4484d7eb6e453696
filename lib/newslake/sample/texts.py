"""Titles, abstracts, bodies and linked entities of articles, for any set of articles at once."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from newslake.sample.draws import Bits, Ints
from newslake.sample.ragged import counts_of, glued, joined, offsets, owners, positions
from newslake.sample.vocabulary import ENTITIES_PER_TOPIC, Vocabulary
from newslake.sample.world import LATE_BODY, Catalogue

EMPTY_ABSTRACT_SHARE = 0.05
EDITED_SHARE = 0.2
"""Share of a copy's sentences, titles among them, with other words in the same frame, about the same
entity."""
ADDED_SHARE = 0.3
"""Share of the copies whose abstract has a sentence more: updates."""
VAGUE_TITLE_SHARE = 0.6
"""Share of the late-subject articles whose title and abstract do not name the subject."""
_OPENING_SENTENCES = 54
_OFF_TOPIC_SHARE = 0.15
_KEYS = 1_024
"""More sentences than a text can have: article * _KEYS + sentence is a key of its own."""
_CONFIDENCES = pa.array([str(round(1.0 - step / 1_000, 3)) for step in range(301)], pa.string())


@dataclass(frozen=True)
class Sentences:
    """Sentences of many texts, flat and in order.

    text: which text each belongs to; kind: names a set of frames; bits choose the frame and the words in it,
    or, where words is given, the frame alone.
    """

    text: Ints
    kind: Ints
    topic: Ints
    entity: Ints
    bits: Bits
    words: Bits | None = None


@dataclass(frozen=True)
class Pieces:
    """Texts as indices into the vocabulary's pool: flat, `counts` a text."""

    flat: Ints
    counts: Ints

    def render(self, words: Vocabulary) -> pa.Array:
        """One string per text."""
        return joined(words.pool.take(pa.array(self.flat)), self.counts, "")


KINDS = ("titles", "vague_titles", "sentences", "noise_sentences", "openings")
TITLE, VAGUE_TITLE, SENTENCE, NOISE, OPENING = range(len(KINDS))


def put_together(words: Vocabulary, sentences: Sentences, texts: int) -> Pieces:
    """The texts that the sentences make, with a space between two sentences."""
    count = len(sentences.text)
    frames = np.array([len(words.frames[kind]) for kind in KINDS])
    frame = (sentences.bits % frames[sentences.kind].astype(np.uint64)).astype(np.int64)
    chosen = sentences.bits if sentences.words is None else sentences.words
    width = max(words.frames[kind].slot.shape[1] for kind in KINDS)
    pieces = np.full((count, width + 1), -1, dtype=np.int64)
    for number, kind in enumerate(KINDS):
        rows = np.flatnonzero(sentences.kind == number)
        if len(rows):
            filled = words.fill(
                kind, frame[rows], sentences.topic[rows], sentences.entity[rows], chosen[rows]
            )
            pieces[rows[:, None], np.arange(1, filled.shape[1] + 1)] = filled
    follows = np.flatnonzero(sentences.text[1:] == sentences.text[:-1]) + 1
    pieces[follows, 0] = words.space
    used = pieces >= 0
    lengths = used.sum(axis=1)
    return Pieces(
        pieces[used], np.bincount(sentences.text, weights=lengths, minlength=texts).astype(np.int64)
    )


def entity_of(world: Catalogue, article: Ints, topic: Ints, bits: Bits) -> Ints:
    """Whom a sentence names: mostly the article's main entity of that topic, else another of the topic."""
    main = world.draws.bits("article/entity", article, topic) % np.uint64(ENTITIES_PER_TOPIC)
    other = (bits >> np.uint64(40)) % np.uint64(ENTITIES_PER_TOPIC)
    keeps = (bits >> np.uint64(50)) % np.uint64(10) < 7
    return topic * ENTITIES_PER_TOPIC + np.where(keeps, main, other).astype(np.int64)


def topic_of(world: Catalogue, stream: str, article: Ints, key: Ints) -> Ints:
    """One of the article's topics, by its weights."""
    first = world.draws.uniform(stream, key) < world.weight[article]
    return np.where(first, world.first_topic[article], world.second_topic[article])


def is_vague(world: Catalogue, article: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which articles hide their subject from title and abstract."""
    return (world.body[article] == LATE_BODY) & (
        world.draws.uniform("article/vague", world.original[article]) < VAGUE_TITLE_SHARE
    )


def _words(world: Catalogue, stream: str, article: Ints, place: Ints, bits: Bits) -> Bits:
    """What chooses the words of sentences: as in the original, but in some of a copy's sentences other
    things, roles, days and numbers."""
    key = article * _KEYS + place
    edited = (world.original[article] != article) & (
        world.draws.uniform(f"{stream}/edited", key) < EDITED_SHARE
    )
    return np.where(edited, world.draws.bits(f"{stream}/edit", key), bits)


def titles(world: Catalogue, article: Ints) -> Pieces:
    """Titles: of the first topic as a rule."""
    source = world.original[article]
    bits = world.draws.bits("title", source)
    topic = topic_of(world, "title/topic", source, source)
    kind = np.where(is_vague(world, article), VAGUE_TITLE, TITLE)
    rows = np.arange(len(article))
    words = _words(world, "title", article, np.zeros_like(article), bits)
    return put_together(
        world.words,
        Sentences(rows, kind, topic, entity_of(world, source, topic, bits), bits, words),
        len(rows),
    )


def abstracts(world: Catalogue, article: Ints) -> Pieces:
    """Abstracts of one to five sentences, some of them saying nothing; one in twenty is empty."""
    draws, source = world.draws, world.original[article]
    number = 1 + draws.below("abstract/sentences", 5, source)
    number *= draws.uniform("abstract/empty", source) >= EMPTY_ABSTRACT_SHARE
    number += (source != article) & (draws.uniform("abstract/added", article) < ADDED_SHARE)
    text = owners(number)
    owner = article[text]
    key = source[text] * _KEYS + positions(number)
    says_nothing = (draws.uniform("abstract/noise", key) < 0.25) | is_vague(world, owner)
    return _sentences(
        world, "abstract", text, owner, key, np.where(says_nothing, NOISE, SENTENCE), len(article)
    )


def bodies(world: Catalogue, article: Ints) -> tuple[Pieces, Ints]:
    """Bodies, empty where an article has none, and the number of sentences before each one's subject starts.

    A plain body has 60 to 400 words. A late one has 800 to 3,000: more than 500 of them are an opening
    without a subject (or, here and there, with another's), so that an encoder that reads 512 tokens sees
    nothing of what the article is about.
    """
    draws, kind, source = world.draws, world.body[article], world.original[article]
    share = draws.uniform("body/length", source)
    opening = np.where(kind == LATE_BODY, _OPENING_SENTENCES, 0)
    subject = np.where(kind == LATE_BODY, 38 + 170 * share, 7 + 28 * share).astype(np.int64)
    number = np.where(kind > 0, opening + subject, 0)
    text, place = owners(number), positions(number)
    owner = article[text]
    key = source[text] * _KEYS + place
    chance = draws.uniform("body/kind", key)
    opens = place < opening[text]
    what = np.where(opens, np.where(chance < _OFF_TOPIC_SHARE, SENTENCE, OPENING), SENTENCE)
    what = np.where(~opens & (chance < 0.15), NOISE, what)
    other = draws.below("body/other topic", world.words.topics, source[text])
    elsewhere = np.where(opens, other, -1)
    return _sentences(world, "body", text, owner, key, what, len(article), elsewhere), opening


def _sentences(
    world: Catalogue,
    name: str,
    text: Ints,
    owner: Ints,
    key: Ints,
    kind: Ints,
    texts: int,
    elsewhere: Ints | None = None,
) -> Pieces:
    """key: of the original's sentence, owner * _KEYS + its place."""
    bits = world.draws.bits(name, key)
    topic = topic_of(world, f"{name}/topic", owner, key)
    if elsewhere is not None:
        topic = np.where(elsewhere >= 0, elsewhere, topic)
    entity = entity_of(world, world.original[owner], topic, bits)
    words = _words(world, name, owner, key % _KEYS, bits)
    return put_together(world.words, Sentences(text, kind, topic, entity, bits, words), texts)


def entities_json(world: Catalogue, stream: str, article: Ints, pieces: Pieces) -> pa.Array:
    """MIND's list of linked entities of each text, as JSON: each entity once, with all its places in
    characters."""
    words, texts = world.words, len(pieces.counts)
    length = words.characters[pieces.flat]
    start = np.cumsum(length) - length
    text = owners(pieces.counts)
    first_piece = offsets(pieces.counts)[:-1]
    within = start - np.concatenate([start, [0]])[np.minimum(first_piece, len(start))][text]
    named = words.is_entity(pieces.flat)
    text, within, entity = text[named], within[named], pieces.flat[named] - words.first[1, 0]
    # Group the mentions of an entity; groups and mentions in order of their place in the text.
    group, inverse = np.unique(text * len(words.entity_label) + entity, return_inverse=True)
    first = np.full(len(group), np.iinfo(np.int64).max)
    np.minimum.at(first, inverse, within)
    order = np.lexsort((within, first[inverse], text))
    heads = np.flatnonzero(np.diff(inverse[order], prepend=-1))
    mentions = np.diff(np.append(heads, len(order)))
    text_of, entity_of_group = text[order][heads], entity[order][heads]
    doubt = np.maximum(0.0, world.draws.uniform(stream, article[text_of], entity_of_group) - 0.7)
    objects = glued(
        [
            words.entity_json.take(pa.array(entity_of_group)),
            _CONFIDENCES.take(pa.array((doubt * 1_000).astype(np.int64))),
            ', "OccurrenceOffsets": [',
            joined(pa.array(within[order]).cast(pa.string()), mentions, ", "),
            "], ",
            words.entity_surface_json.take(pa.array(entity_of_group)),
        ]
    )
    return glued(["[", joined(objects, counts_of(text_of, texts), ", "), "]"])
