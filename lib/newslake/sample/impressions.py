"""Impressions: who saw which candidates when, and which were clicked. Any range of rows can be made by
itself."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from newslake.sample.draws import Floats, Ints, choose
from newslake.sample.ids import labelled_news_ids, mind_time, news_ids, timestamps, user_ids
from newslake.sample.ragged import joined, offsets, owners, positions
from newslake.sample.spec import GeneratorSpec
from newslake.sample.world import (
    DAY,
    MEAN_AGE,
    WINDOW,
    Catalogue,
    affinities,
    catalogue,
    histories,
    tastes,
    utilities,
)

BLOCK = 5_000
"""Impressions made at once: bounds the memory of a worker, and changes no row."""

REGULARS, REGULARS_IMPRESSIONS = 0.2, 0.7
"""This share of the users makes that share of the impressions."""

_HOURS = np.array([3, 2, 1, 1, 1, 2, 4, 6, 7, 7, 7, 7, 8, 8, 7, 6, 6, 6, 7, 8, 9, 9, 7, 5], dtype=np.float64)


@dataclass(frozen=True)
class Shown:
    """A block of impressions; candidates are flat, `counts` of them an impression, in the order shown."""

    impression: Ints
    user: Ints
    time: Ints
    counts: Ints
    article: Ints
    clicked: Ints
    affinity: Floats
    utility: Floats
    history: Ints
    history_counts: Ints


def impressions(spec: GeneratorSpec, split: str, start: int, stop: int) -> Shown:
    """Rows start .. stop - 1 of a split, from 0. Impression ids are the row numbers plus one."""
    world = catalogue(spec)
    draws = world.draws
    row = np.arange(start, stop)
    key = row if split == "train" else row + spec.impressions_of["train"]
    user, time = _who(world, split, key), _when(world, split, key)
    counts = _how_many(world, key)
    article = _candidates(world, key, time, counts)
    distinct, place = np.unique(user, return_inverse=True)
    taste = tastes(world, distinct)
    affinity = affinities(world, taste, np.repeat(place, counts), article)
    utility = utilities(world, affinity, article, np.repeat(time, counts).astype(np.float64))
    wanted = _how_many_clicks(world, key)
    noise = draws.gumbel("candidate/click", np.repeat(key, counts) * 512 + positions(counts))
    clicked = _largest(utility + noise, counts, np.minimum(wanted, counts - 1))
    past, past_counts = histories(world, distinct, taste)
    history, history_counts = _rows_of(past, past_counts, place)
    return Shown(row + 1, user, time, counts, article, clicked, affinity, utility, history, history_counts)


def _who(world: Catalogue, split: str, key: Ints) -> Ints:
    """Regulars make most of the impressions; in dev a share of the users is new."""
    known, draws = world.spec.known_users, world.draws
    place = np.interp(
        draws.uniform("impression/user", key), [0.0, REGULARS_IMPRESSIONS, 1.0], [0.0, REGULARS, 1.0]
    )
    user = (place * known).astype(np.int64)
    if split == "train" or known == world.spec.users:
        return user
    new = draws.uniform("impression/new user", key) < world.spec.new_users
    return np.where(new, known + (place * (world.spec.users - known)).astype(np.int64), user)


def _when(world: Catalogue, split: str, key: Ints) -> Ints:
    """Seconds since 1970: days alike, hours by the daily rhythm of readers."""
    draws = world.draws
    days = world.spec.train_days
    day = draws.below("impression/day", days, key) if split == "train" else np.full(len(key), days)
    hour = choose(np.cumsum(_HOURS / _HOURS.sum()), draws.uniform("impression/hour", key))
    return world.spec.start + day * DAY + hour * 3_600 + draws.below("impression/second", 3_600, key)


def _how_many(world: Catalogue, key: Ints) -> Ints:
    """Log-normal, as skewed as MIND's (median about two thirds of the mean), within 2 .. most_candidates."""
    sigma = 0.9
    location = np.log(world.spec.candidates) - sigma * sigma / 2.0
    wanted = np.rint(np.exp(location + sigma * world.draws.normal("impression/candidates", key)))
    return np.clip(wanted, 2, world.most_candidates).astype(np.int64)


def _how_many_clicks(world: Catalogue, key: Ints) -> Ints:
    """Geometric from 1."""
    again = 1.0 - 1.0 / world.spec.clicks
    if again == 0.0:
        return np.ones(len(key), dtype=np.int64)
    return 1 + np.floor(np.log(world.draws.uniform("impression/clicks", key)) / np.log(again)).astype(
        np.int64
    )


def _candidates(world: Catalogue, key: Ints, time: Ints, counts: Ints) -> Ints:
    """Distinct articles that were out at each time, the fresher the likelier, in random order."""
    draws = world.draws
    owner, place = owners(counts), positions(counts)
    flat = np.repeat(key, counts) * 512 + place
    # One draw from each of `counts` equal slices of the ages' distribution: rising ages, hardly an article
    # twice.
    slices = (place + draws.uniform("candidate/age", flat)) / counts[owner]
    age = -MEAN_AGE * np.log1p(-slices * (1.0 - np.exp(-WINDOW / MEAN_AGE)))
    newest = world.published_by(time.astype(np.float64))[owner] - 1
    rank = newest - (world.published_by(time[owner] - age) - 1)
    # Where two are the same, the later one and all that then collide move on to older articles: the running
    # maximum of rank - place makes ranks strictly rise. A large step from row to row lets one pass serve all
    # rows.
    step = owner * np.int64(4 * world.spec.articles)
    rank = np.maximum.accumulate(rank - place + step) - step + place
    article = newest - rank
    return article[np.argsort(owner + draws.uniform("candidate/order", flat), kind="stable")]


def _largest(value: Floats, counts: Ints, wanted: Ints) -> Ints:
    """1 for the `wanted` largest values of each row, else 0."""
    owner = owners(counts)
    order = np.lexsort((-value, owner))
    chosen = np.zeros(len(value), dtype=np.int64)
    chosen[order] = positions(counts) < wanted[owner]
    return chosen


def _rows_of(items: Ints, counts: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """The items of the given rows, repeated where a row comes again."""
    many = counts[rows]
    return items[np.repeat(offsets(counts)[:-1][rows], many) + positions(many)], many


def behavior_lines(spec: GeneratorSpec, split: str, start: int, stop: int) -> pa.RecordBatch:
    """One column, `value`: lines of behaviors.tsv."""
    shown = impressions(spec, split, start, stop)
    candidates = labelled_news_ids(spec, shown.article, shown.clicked)
    columns = [
        pa.array(shown.impression).cast(pa.string()),
        user_ids(spec, shown.user),
        mind_time(shown.time),
        joined(news_ids(spec, shown.history), shown.history_counts, " "),
        joined(candidates, shown.counts, " "),
    ]
    return pa.RecordBatch.from_arrays([pc.binary_join_element_wise(*columns, "\t")], ["value"])


def impression_truth(spec: GeneratorSpec, split: str, start: int, stop: int) -> pa.RecordBatch:
    """What no reader of the files can know: affinity and utility of each candidate, by position in the list
    shown."""
    shown = impressions(spec, split, start, stop)
    ends = pa.array(offsets(shown.counts), pa.int32())
    columns = {
        "split": pa.array([split] * len(shown.impression)),
        "impression_id": pa.array(shown.impression).cast(pa.string()),
        "user_id": user_ids(spec, shown.user),
        "occurred_at": timestamps(shown.time),
        "affinity": pa.ListArray.from_arrays(ends, pa.array(shown.affinity, pa.float32())),
        "utility": pa.ListArray.from_arrays(ends, pa.array(shown.utility, pa.float32())),
    }
    return pa.RecordBatch.from_pydict(columns)
