"""What users say themselves: stated interests and search queries, from the same tastes as their clicks."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from newslake.sample.draws import Floats, Ints, choose
from newslake.sample.ids import iso_time, user_ids, users_in_id_order
from newslake.sample.ragged import glued, owners, positions
from newslake.sample.spec import GeneratorSpec
from newslake.sample.world import DAY, TASTE_STRENGTH, Catalogue, catalogue, tastes

_STRAY_SHARE = 0.1
"""Interests and queries that have nothing to do with the user's taste."""
_KEYS = 64

INTERESTS_SCHEMA = "user_id string, interest string, weight double, stated_at string"
QUERIES_SCHEMA = "query_id string, user_id string, query string, searched_at string"


def interest_rows(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Up to three interests (names of categories or subcategories) of the users whose ids have the numbers
    start + 1 .. stop."""
    world = catalogue(spec)
    users = users_in_id_order(spec, start, stop)
    counts = world.draws.below("interest/number", 4, users)
    row, key = owners(counts), np.repeat(users, counts) * _KEYS + positions(counts)
    topic = _topics(world, "interest", users, row, key)
    words = world.words
    broad = world.draws.uniform("interest/broad", key) < 0.5
    names = pa.array(words.categories + words.subcategories, pa.string())
    said = np.where(broad, words.category_of[topic], len(words.categories) + topic)
    # An interest said twice is one interest.
    _, first = np.unique(row * len(names) + said, return_index=True)
    first = np.sort(first)
    day = spec.start - 30 * DAY + (world.draws.uniform("interest/time", key) * 30 * DAY).astype(np.int64)
    columns = {
        "user_id": user_ids(spec, users[row[first]]),
        "interest": names.take(pa.array(said[first])),
        "weight": pa.array(np.round(0.5 + 0.5 * world.draws.uniform("interest/weight", key), 2)[first]),
        "stated_at": iso_time(day[first]),
    }
    return pa.RecordBatch.from_pydict(columns)


def query_rows(spec: GeneratorSpec, start: int, stop: int) -> pa.RecordBatch:
    """Search queries of the users whose ids have the numbers start + 1 .. stop, over train's days and dev's:
    two in the mean."""
    world = catalogue(spec)
    users = users_in_id_order(spec, start, stop)
    counts = (
        np.floor(-2.5 * np.log(world.draws.uniform("query/number", users)))
        .astype(np.int64)
        .clip(max=_KEYS - 1)
    )
    owner = np.repeat(users, counts)
    key = owner * _KEYS + positions(counts)
    topic = _topics(world, "query", users, owners(counts), key)
    thing = world.words.first[3, topic] + world.draws.below("query/thing", world.words.number[3, topic], key)
    text = pc.replace_substring_regex(world.words.pool.take(pa.array(thing)), "^(the|a|an) ", "")
    # Users who are new in dev have not searched before it.
    first_day = np.where(owner >= spec.known_users, spec.train_days, 0)
    days = first_day + world.draws.uniform("query/time", key) * (spec.train_days + 1 - first_day)
    columns = {
        "query_id": glued(["Q", pa.array(key + 1).cast(pa.string())]),
        "user_id": user_ids(spec, owner),
        "query": text,
        "searched_at": iso_time(spec.start + (days * DAY).astype(np.int64)),
    }
    return pa.RecordBatch.from_pydict(columns)


def _topics(world: Catalogue, stream: str, users: Ints, row: Ints, key: Ints) -> Ints:
    """A topic for each item, by its user's taste, or now and then by nothing."""
    shares: Floats = np.exp(2.0 * TASTE_STRENGTH * tastes(world, users))
    cumulative = np.minimum(np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1), 1.0 - 1e-9)
    shifted = (cumulative + np.arange(len(users))[:, None]).ravel()
    place = np.searchsorted(shifted, row + world.draws.uniform(f"{stream}/topic", key), side="right")
    liked = np.minimum(place - row * world.words.topics, world.words.topics - 1)
    any_topic = choose(np.cumsum(world.words.topic_share), world.draws.uniform(f"{stream}/any topic", key))
    return np.where(world.draws.uniform(f"{stream}/stray", key) < _STRAY_SHARE, any_topic, liked)
