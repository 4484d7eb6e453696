"""Labelled data for the vote: a long-text classifier's scores, and short texts of which some are labelled
wrongly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from newslake.sample.draws import Floats, Ints, choose
from newslake.sample.ids import articles_in_id_order, news_ids
from newslake.sample.ragged import glued
from newslake.sample.spec import GeneratorSpec
from newslake.sample.texts import NOISE, SENTENCE, TITLE, VAGUE_TITLE, Sentences, put_together
from newslake.sample.vocabulary import ENTITIES_PER_TOPIC
from newslake.sample.world import Catalogue, catalogue

MIXED_SHARE = 0.15
"""Short texts that speak of another category too: their true class is what the first part is about."""
VAGUE_SHARE = 0.05
"""Short texts that name no subject at all, so that nobody could tell their class from the text."""

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Classified:
    """What the simulated classifier says of articles with a body. Arrays of one length."""

    article: Ints
    true: Ints
    given: Ints
    score: Floats


def classified(world: Catalogue, article: Ints) -> Classified:
    """Scores between 0.3 and 1, higher for articles of one topic; a class is right about as often as its
    score says.

    Where it is wrong it is mostly the class of the article's second topic: what a real classifier would mix
    it up with.
    """
    draws = world.draws
    article = article[world.body[article] > 0]
    true = world.words.category_of[world.first_topic[article]]
    second = world.words.category_of[world.second_topic[article]]
    doubt = draws.uniform("classifier/score", article) ** np.where(second == true, 3.0, 1.8)
    score = np.round(1.0 - 0.7 * doubt, 4)
    # A little too sure of itself, as classifiers are.
    right = draws.uniform("classifier/right", article) < score - 0.01
    shift = 1 + draws.below("classifier/other", len(world.words.categories) - 1, article)
    wrong = np.where(second != true, second, (true + shift) % len(world.words.categories))
    return Classified(article, true, np.where(right, true, wrong), score)


@dataclass(frozen=True)
class ShortTexts:
    """Short texts by number. Arrays of one length."""

    number: Ints
    title: pa.Array
    topic: Ints
    true: Ints
    labelled: Ints
    mixed: Flags
    vague: Flags


def short_texts(world: Catalogue, start: int, stop: int) -> ShortTexts:
    """Short texts start .. stop - 1: one or two sentences on a topic, some also on another, some on none."""
    draws, words = world.draws, world.words
    number = np.arange(start, stop)
    cumulative = np.cumsum(words.topic_share)
    topic = choose(cumulative, draws.uniform("short/topic", number))
    other = choose(cumulative, draws.uniform("short/other topic", number))
    true = words.category_of[topic]
    chance = draws.uniform("short/kind", number)
    vague = chance < VAGUE_SHARE
    mixed = (chance > 1.0 - MIXED_SHARE) & (words.category_of[other] != true)
    two = mixed | (draws.uniform("short/length", number) < 0.4)
    text = np.repeat(np.arange(len(number)), 1 + two)
    second = np.diff(text, prepend=-1) == 0
    about = np.where(second & mixed[text], other[text], topic[text])
    bits = draws.bits("short", number[text], second)
    kind = np.where(vague[text], np.where(second, NOISE, VAGUE_TITLE), np.where(two[text], SENTENCE, TITLE))
    entity = about * ENTITIES_PER_TOPIC + (bits >> np.uint64(40)).astype(np.int64) % ENTITIES_PER_TOPIC
    title = put_together(words, Sentences(text, kind, about, entity, bits), len(number)).render(words)
    wrong = draws.uniform("short/mislabelled", number) < world.spec.mislabelled
    shift = 1 + draws.below("short/wrong label", len(words.categories) - 1, number)
    labelled = np.where(wrong, (true + shift) % len(words.categories), true)
    return ShortTexts(number, title, topic, true, labelled, mixed, vague)


def _names(names: list[str], index: Ints) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index))


SCORES_SCHEMA = "news_id string, class string, score double"


def class_score_rows(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Rows of class_scores.jsonl for the articles with a body among those whose id has a number start + 1 ..
    stop."""
    world = catalogue(spec)
    result = classified(world, articles_in_id_order(spec, start, stop))
    given = _names(world.words.categories, result.given)
    return pa.RecordBatch.from_pydict(
        {"news_id": news_ids(spec, result.article), "class": given, "score": result.score}
    )


SHORT_SCHEMA = "news_id string, title string, class string"


def short_text_rows(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Rows of short_texts.jsonl, with the class as labelled."""
    world = catalogue(spec)
    short = short_texts(world, start, stop)
    labelled = _names(world.words.categories, short.labelled)
    return pa.RecordBatch.from_pydict({"news_id": _short_ids(short), "title": short.title, "class": labelled})


def short_text_truth(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """The true class of each short text."""
    world = catalogue(spec)
    short = short_texts(world, start, stop)
    columns = {
        "news_id": _short_ids(short),
        "true_class": _names(world.words.categories, short.true),
        "labelled_class": _names(world.words.categories, short.labelled),
        "true_subcategory": _names(world.words.subcategories, short.topic),
        "mixed": pa.array(short.mixed),
        "vague": pa.array(short.vague),
    }
    return pa.RecordBatch.from_pydict(columns)


def _short_ids(short: ShortTexts) -> pa.Array:
    return glued(["S", pa.array(short.number + 1).cast(pa.string())])
