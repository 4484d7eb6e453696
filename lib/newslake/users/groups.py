"""A user's tags in semantic groups, and the phrases made from each group. numpy, one user a row; no Spark
session needed.

Grouping is leader clustering (Hartigan, Clustering Algorithms, 1975, ch. 3): the heaviest tag without a group
leads a new one, and all tags without a group whose vector has a cosine of `threshold` or more to the leader's
join it. It needs no number of groups, depends on nothing but the order by weight, and its groups hold
together around what the user reads most.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class PhraseSettings:
    """How phrases are made.

    Attributes:
        threshold: cosine to a group's leader from which a tag joins the group.
        phrase_size: most tags of a phrase; at least 2, unless a group has but one tag.
        tags_per_group: phrases are made from a group's heaviest tags, so many of them.
        per_group, per_user: the heaviest phrases that are kept.
    """

    threshold: float = 0.45
    phrase_size: int = 6
    tags_per_group: int = 10
    per_group: int = 20
    per_user: int = 100


def quantised(vectors: np.ndarray) -> np.ndarray:
    """Vectors as int8, each scaled so that its largest entry is 127: a quarter of the bytes; cosines change
    by under 0.01."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors / np.where(largest > 0, largest, 1.0) * 127.0).astype(np.int8)


def groups_of(vectors: np.ndarray, threshold: float) -> Ints:
    """The group of each tag, from 0, in the order of their leaders.

    Args:
        vectors: [tags, entries], any numbers, heaviest tag first. A vector of zeros is like no other.
        threshold: cosine from which a tag joins a leader.
    """
    wide = vectors.astype(np.float32)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    wide /= np.where(length > 0, length, 1.0)
    cosines = wide @ wide.T
    group = np.full(len(vectors), -1, dtype=np.int64)
    for number in range(len(vectors)):
        free = np.flatnonzero(group < 0)
        if not len(free):
            break
        leader = free[0]
        group[free[cosines[leader, free] >= threshold]] = number
        group[leader] = number
    return group


@lru_cache(maxsize=1_000)
def _choices(tags: int, phrase_size: int) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Ints]:
    """All sets of 2 .. phrase_size of so many tags, as rows of flags; and their sizes. A single tag is a set
    by itself."""
    sizes = range(min(2, tags), min(phrase_size, tags) + 1)
    sets = [one for size in sizes for one in combinations(range(tags), size)]
    flags = np.zeros((len(sets), tags), dtype=bool)
    for row, one in enumerate(sets):
        flags[row, list(one)] = True
    return flags, flags.sum(axis=1)


def phrases_of(weights: Floats, group: Ints, settings: PhraseSettings) -> list[tuple[int, list[int], float]]:
    """The phrases of one user: (group, places of the tags, weight), heaviest first.

    A phrase weighs the mean of its tags. Order: weight, then fewer tags, then heavier tags.

    Args:
        weights: of the user's tags, heaviest first.
        group: of each tag, from groups_of.
        settings: the bounds.
    """
    found: list[tuple[float, int, int, list[int]]] = []
    for number in range(int(group.max(initial=-1)) + 1):
        places = np.flatnonzero(group == number)[: settings.tags_per_group]
        flags, sizes = _choices(len(places), settings.phrase_size)
        # Added up in one order and rounded, so that equal means are equal numbers.
        means = np.round(flags @ weights[places] / sizes, 12)
        for row in np.lexsort((np.arange(len(means)), -means))[: settings.per_group].tolist():
            found.append((-float(means[row]), number, row, places[flags[row]].tolist()))
    found.sort(key=lambda one: one[:3])
    return [(number, places, -weight) for weight, number, _, places in found[: settings.per_user]]


def phrases_of_batches(
    settings: PhraseSettings, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What runs in the workers: (user_id, tags, weights, vectors) in, one row a user; (user_id, tag_group,
    tags, weight) out.

    Tags come heaviest first; vectors are the bytes of their int8 entries.
    """
    for batch in batches:
        users: list[str] = []
        groups: list[int] = []
        phrases: list[list[str]] = []
        means: list[float] = []
        for row in range(batch.num_rows):
            user, tags = batch.column("user_id")[row].as_py(), batch.column("tags")[row].as_py()
            weights = np.array(batch.column("weights")[row].as_py(), dtype=np.float64)
            vectors = np.stack(
                [np.frombuffer(one, dtype=np.int8) for one in batch.column("vectors")[row].as_py()]
            )
            for number, places, weight in phrases_of(
                weights, groups_of(vectors, settings.threshold), settings
            ):
                users.append(user)
                groups.append(number)
                phrases.append([tags[place] for place in places])
                means.append(weight)
        columns = [
            pa.array(users, pa.string()),
            pa.array(groups, pa.int32()),
            pa.array(phrases, pa.list_(pa.string())),
            pa.array(means, pa.float64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=["user_id", "tag_group", "tags", "weight"])


def quantised_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What runs in the workers: (tag, embedding) in, (tag, vector as the bytes of int8 entries) out."""
    for batch in batches:
        lists = batch.column("embedding")
        starts, values = lists.offsets.to_numpy(), lists.values.to_numpy(zero_copy_only=False)
        if batch.num_rows == 0:
            continue
        vectors = quantised(values[starts[0] : starts[-1]].reshape(batch.num_rows, -1))
        rows = pa.array([one.tobytes() for one in vectors], pa.binary())
        yield pa.RecordBatch.from_arrays([batch.column("tag"), rows], names=["tag", "vector"])
