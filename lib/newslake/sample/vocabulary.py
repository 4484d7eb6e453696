"""The words of the generated news: subjects and frames from the YAML files beside this module, and invented
entities.

All pieces of text lie in one string array, `pool`; a text is a list of indices into it, so that millions of
texts are put together by Arrow and none by a Python loop.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from newslake.sample.draws import Bits, Floats, Ints

ENTITIES_PER_TOPIC = 12
_KINDS = "PPPPPPOOOOGG"
_SLOTS = ("literal", "e", "a", "t", "T", "r", "R", "n", "d", "p")
_STEPS = np.array([1, 3, 7, 9], dtype=np.uint64)
_SLOT = re.compile(r"\{(\w)\}")


@dataclass(frozen=True)
class Frames:
    """Sentence frames as matrices [frames, pieces]: the slot of each piece (-1: none), and its text where it
    is literal."""

    slot: Ints
    literal: Ints

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True)
class Vocabulary:
    """Topics are 0 .. S-1, categories 0 .. C-1, entities 0 .. S * ENTITIES_PER_TOPIC - 1 (those of topic s in
    one run)."""

    categories: list[str]
    subcategories: list[str]
    category_of: Ints
    topic_share: Floats
    pool: pa.Array
    characters: Ints
    first: Ints
    number: Ints
    space: int
    frames: dict[str, Frames]
    entity_label: pa.Array
    entity_json: pa.Array
    entity_surface_json: pa.Array

    @property
    def topics(self) -> int:
        return len(self.subcategories)

    def fill(self, kind: str, frame: Ints, topic: Ints, entity: Ints, bits: Bits) -> Ints:
        """Indices into the pool for each piece of each sentence, [sentences, pieces], -1 where a frame has
        fewer.

        kind: the set of frames. bits: 64 random bits a sentence; they choose the words.
        """
        frames = self.frames[kind]
        slot = frames.slot[frame]
        piece = np.arange(slot.shape[1], dtype=np.uint64)
        topics = np.broadcast_to(topic[:, None], slot.shape)
        number = self.number[np.maximum(slot, 0), topics]
        # Steps of 1, 3, 7 or 9 are coprime to the 10 things of a topic: a sentence with several slots names
        # different ones.
        step = _STEPS[(bits >> np.uint64(6)) % np.uint64(len(_STEPS))]
        start = bits[:, None] >> (np.uint64(8) + np.uint64(4) * np.maximum(slot, 0).astype(np.uint64))
        offset = (start % np.uint64(1 << 16) + step[:, None] * piece) % number.astype(np.uint64)
        chosen = self.first[np.maximum(slot, 0), topics] + offset.astype(np.int64)
        chosen = np.where(slot == _SLOTS.index("e"), self.first[1, 0] + entity[:, None], chosen)
        chosen = np.where(slot == 0, frames.literal[frame], chosen)
        return np.where(slot < 0, -1, chosen)

    def is_entity(self, pieces: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which pieces (indices into the pool) name an entity."""
        start = self.first[1, 0]
        return (pieces >= start) & (pieces < start + len(self.entity_label))


class _Pool:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.literals: dict[str, int] = {}

    def add(self, texts: list[str]) -> tuple[int, int]:
        self.texts += texts
        return len(self.texts) - len(texts), len(texts)

    def literal(self, text: str) -> int:
        if text not in self.literals:
            self.literals[text] = self.add([text])[0]
        return self.literals[text]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _frames(texts: list[str], pool: _Pool) -> Frames:
    pieces = [[part for part in enumerate(_SLOT.split(text)) if part[1]] for text in texts]
    longest = max(len(parts) for parts in pieces)
    slot = np.full((len(texts), longest), -1, dtype=np.int64)
    literal = np.zeros((len(texts), longest), dtype=np.int64)
    for row, parts in enumerate(pieces):
        for column, (place, text) in enumerate(parts):
            slot[row, column] = _SLOTS.index(text) if place % 2 else 0
            literal[row, column] = 0 if place % 2 else pool.literal(text)
    return Frames(slot, literal)


def _entities(subjects: dict[str, Any], phrases: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Labels and types of all entities: invented people, organisations and places, ENTITIES_PER_TOPIC a
    topic.

    Strides through the lists of name parts make them; a name that has been given already is passed over.
    """
    given, starts, ends, places = (
        phrases[part] for part in ("given_names", "surname_starts", "surname_ends", "place_ends")
    )
    labels: list[str] = []
    types: list[str] = []
    number = 0
    for category in subjects.values():
        orgs = category["orgs"].split(", ")
        for place, kind in enumerate(category.get("kinds", _KINDS) * len(category["topics"])):
            label = ""
            while not label or label in labels:
                stem = starts[number % len(starts)] + ends[(number // len(starts) + 5 * number) % len(ends)]
                if kind == "P":
                    label = f"{given[number % len(given)]} {stem}"
                else:
                    label = (
                        f"{stem} {orgs[place % len(orgs)]}"
                        if kind == "O"
                        else stem + places[number % len(places)]
                    )
                number += 1
            labels.append(label)
            types.append(kind)
    return labels, types


def _load(name: str) -> dict[str, Any]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The words, loaded once a process."""
    subjects, phrases = _load("topics.yaml"), _load("phrases.yaml")
    pool = _Pool()
    topics = [(name, sub, words) for name, one in subjects.items() for sub, words in one["topics"].items()]
    runs: dict[str, list[tuple[int, int]]] = {slot: [] for slot in _SLOTS[1:]}
    labels, types = _entities(subjects, phrases)
    runs["e"] = [pool.add(labels)] * len(topics)
    for category, _, words in topics:
        things, roles = words["things"].split(", "), subjects[category]["roles"].split(", ")
        runs["a"].append(pool.add(words["acts"].split(", ")))
        runs["t"].append(pool.add(things))
        runs["T"].append(pool.add([_capital(thing) for thing in things]))
        runs["r"].append(pool.add(roles))
        runs["R"].append(pool.add([_capital(role) for role in roles]))
    for slot, part in (("n", "numbers"), ("d", "weekdays"), ("p", "places")):
        runs[slot] = [pool.add(phrases[part])] * len(topics)
    openings = [f"{start}, {end}." for start in phrases["opening_starts"] for end in phrases["opening_ends"]]
    openings += [_capital(end) + "." for end in phrases["opening_ends"] if not end.startswith("{")]
    frames = {
        kind: _frames(phrases[kind], pool)
        for kind in ("titles", "vague_titles", "sentences", "noise_sentences")
    }
    frames["openings"] = _frames(openings, pool)
    space = pool.literal(" ")
    names = list(subjects)
    category_of = np.array([names.index(category) for category, _, _ in topics])
    share = np.array(
        [subjects[category]["share"] / len(subjects[category]["topics"]) for category, _, _ in topics]
    )
    return Vocabulary(
        categories=names,
        subcategories=[sub for _, sub, _ in topics],
        category_of=category_of,
        topic_share=share / share.sum(),
        pool=pa.array(pool.texts, pa.string()),
        characters=np.array([len(text) for text in pool.texts]),
        first=np.array([[0] * len(topics)] + [[start for start, _ in runs[slot]] for slot in _SLOTS[1:]]),
        number=np.array([[1] * len(topics)] + [[many for _, many in runs[slot]] for slot in _SLOTS[1:]]),
        space=space,
        frames=frames,
        entity_label=pa.array(labels, pa.string()),
        entity_json=pa.array(
            [
                f'{{"Label": {json.dumps(label)}, "Type": "{kind}", "WikidataId": "Q9{number:08d}",'
                ' "Confidence": '
                for number, (label, kind) in enumerate(zip(labels, types, strict=True))
            ],
            pa.string(),
        ),
        entity_surface_json=pa.array(
            [f'"SurfaceForms": [{json.dumps(label)}]}}' for label in labels], pa.string()
        ),
    )
