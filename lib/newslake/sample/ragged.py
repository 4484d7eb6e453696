"""Rows of unequal length as flat arrays: the counts of each row, and the items of all rows one after
another."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from newslake.sample.draws import Ints


def offsets(counts: Ints) -> Ints:
    """Where each row starts, and after the last one the number of items: length rows + 1."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def owners(counts: Ints) -> Ints:
    """The row of each item."""
    return np.repeat(np.arange(len(counts)), counts)


def positions(counts: Ints) -> Ints:
    """The place of each item within its row, from 0."""
    return np.arange(int(counts.sum())) - np.repeat(offsets(counts)[:-1], counts)


def counts_of(rows: Ints, size: int) -> Ints:
    """How many items each of `size` rows has, from the row of each item."""
    return np.bincount(rows, minlength=size).astype(np.int64)


def joined(items: pa.Array, counts: Ints, separator: str) -> pa.Array:
    """One string per row: its items (strings, flat) with the separator between them; empty for a row without
    items."""
    rows = pa.ListArray.from_arrays(pa.array(offsets(counts), pa.int32()), items)
    return pc.binary_join(rows, separator)


def glued(parts: Sequence[pa.Array | str]) -> pa.Array:
    """The parts of each row (arrays of one length, or a text that all rows share) put together without a
    separator."""
    return pc.binary_join_element_wise(*parts, "")
