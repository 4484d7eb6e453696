"""Exact top-k by inner product or cosine, without Spark: blocks of items, tiles of queries, only the running
k best kept.

For each tile and block: a fast product with an error bound (see product.py); the maxima of groups of columns,
compared with what the k-th best so far leaves possible; only in groups that pass are single scores looked at;
only these candidates, a few per query, are scored exactly. An item is left out only where its score is
certainly below the k-th best, so that the result is that of brute force: the k best by (score descending, id
ascending), whatever the sizes of blocks and tiles and whatever the product's precision.

The idea of bounding a cheap score and checking few in full is that of the VA-file (Weber, Schek and Blott,
VLDB 1998).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from newslake.errors import UserError
from newslake.search.knn_settings import KnnSettings
from newslake.search.product import Block, Bounds, exact, resolved, rounded, search_device
from newslake.search.running_best import NONE, Keys, candidates, keys_of, merged, rows_of, scores_of
from newslake.search.unit_rows import Floats, unit_rows

_GROUP_WIDTHS = (64, 32, 16, 8, 4, 2, 1)


class Items:
    """Items of one chunk, sorted by id and laid out in blocks.

    Args:
        ids: n ids, each once (Arrow strings).
        vectors: (n, d) float32, finite; for cosine not of zero length.
        k: results wanted of each query: decides how columns are grouped.
        settings: how to search.
    """

    def __init__(self, ids: pa.Array, vectors: Floats, *, k: int, settings: KnnSettings) -> None:
        order = pc.sort_indices(ids)
        self.ids = ids.take(order)
        places = order.to_numpy().astype(np.int64)
        self.vectors = (
            unit_rows(vectors, places)
            if settings.metric == "cosine"
            else np.ascontiguousarray(vectors[places], np.float32)
        )
        device = search_device(settings.device)
        precision = resolved(settings.precision, device)
        self.blocks: list[tuple[int, int, Block]] = []  # first row, group width, block
        _, block_rows = settings.sizes(device)
        for start in range(0, len(ids), block_rows):
            part = self.vectors[start : start + block_rows]
            # Wide groups cost least, but the k-th best group must say something about the k-th best score.
            width = next(w for w in _GROUP_WIDTHS if w == 1 or len(part) >= 4 * k * w)
            self.blocks.append((start, width, Block(part, width=width, precision=precision, device=device)))

    def __len__(self) -> int:
        return len(self.ids)


class TopK:
    """The k best of queries over the chunks of items added so far.

    Args:
        queries: (q, d) float32, finite; for cosine not of zero length.
        k: results wanted, 1 or more.
        settings: how to search.
    """

    def __init__(self, queries: Floats, *, k: int, settings: KnnSettings) -> None:
        if k < 1:
            raise UserError(f"k must be at least 1, not {k}")
        self._k, self._settings = k, settings
        queries = unit_rows(queries) if settings.metric == "cosine" else queries
        self._queries = np.ascontiguousarray(queries, dtype=np.float32)
        # The k best of all chunks, for the bound.
        self._scores = np.full((len(queries), k), -np.inf, np.float32)
        self._ids: list[pa.Array] = []
        self._found: list[Keys] = []

    def add(self, items: Items) -> None:
        """Search one more chunk. An id must not come in two chunks."""
        found = np.full(self._scores.shape, NONE, np.int64)
        device = search_device(self._settings.device)
        precision = resolved(self._settings.precision, device)
        tile_rows, _ = self._settings.sizes(device)
        starts = range(0, len(self._queries), tile_rows)

        def run(start: int) -> None:
            part = slice(start, start + tile_rows)
            near, bounds = rounded(self._queries[part], precision)
            with torch.inference_mode():
                _search_tile(
                    self._queries[part], near.to(device), bounds, items, self._scores[part, -1], found[part]
                )

        with _one_torch_thread(device):
            if self._settings.threads == 1 or len(starts) == 1:
                for start in starts:
                    run(start)
            else:
                with ThreadPoolExecutor(self._settings.threads) as pool:
                    list(pool.map(run, starts))
        found = np.sort(found, axis=1)[:, ::-1]
        both = np.concatenate([self._scores, scores_of(found)], axis=1)
        self._scores = np.ascontiguousarray(-np.sort(-both, axis=1)[:, : self._k])
        self._ids.append(items.ids)
        self._found.append(found)

    def result(self) -> tuple[npt.NDArray[np.int64], pa.Array, Floats]:
        """The rows of the answer, sorted by query and rank: query row (m,), item id (m,), score (m,)."""
        if not self._found:
            return np.empty(0, np.int64), pa.array([], pa.string()), np.empty(0, np.float32)
        offsets = np.cumsum([0, *(len(ids) for ids in self._ids)])
        rows, numbers, scores = [], [], []
        for first, found in zip(offsets, self._found, strict=False):
            score = scores_of(found)
            row, place = np.nonzero((found != NONE) & (score >= self._scores[:, -1:]))
            rows.append(row)
            numbers.append(first + rows_of(found[row, place]))
            scores.append(score[row, place])
        row, number, score = np.concatenate(rows), np.concatenate(numbers), np.concatenate(scores)
        ids = pa.chunked_array(self._ids, pa.string()).combine_chunks().take(pa.array(number))
        if len(self._found) == 1:
            return row, ids, score
        codes = _ranks(ids)
        order = np.lexsort((codes, -score, row))
        row = row[order]
        place = np.arange(len(row)) - np.searchsorted(row, row, side="left")
        order = order[place < self._k]
        return row[place < self._k], ids.take(pa.array(order)), score[order]


def top_k(
    queries: Floats, item_ids: pa.Array, items: Floats, k: int, settings: KnnSettings | None = None
) -> tuple[npt.NDArray[np.int64], pa.Array, Floats]:
    """The k best items of every query, by (score descending, id ascending); fewer where there are fewer
    items.

    Args:
        queries: (q, d) float32.
        item_ids: n ids, each once.
        items: (n, d) float32.
        k: results wanted of each query.
        settings: how to search.

    Returns:
        Query row (m,), item id (m,) and score (m,), sorted by query and rank.

    Raises:
        ValueError: sizes differ, or a vector is not finite or, for cosine, of zero length.
    """
    settings = settings or KnnSettings()
    if (
        queries.ndim != 2
        or items.ndim != 2
        or queries.shape[1] != items.shape[1]
        or len(items) != len(item_ids)
    ):
        raise ValueError(
            f"queries {queries.shape}, items {items.shape} and {len(item_ids)} ids do not fit together"
        )
    for name, side in (("query", queries), ("item", items)):
        norms = np.einsum("ij,ij->i", side, side, dtype=np.float64)
        if not np.isfinite(norms).all() or (settings.metric == "cosine" and (norms == 0.0).any()):
            raise ValueError(f"a {name} vector is not finite, or has zero length")
    found = TopK(queries, k=k, settings=settings)
    for start in range(0, len(items), settings.chunk_rows):
        part = slice(start, start + settings.chunk_rows)
        found.add(Items(item_ids[part], items[part], k=k, settings=settings))
    return found.result()


def _search_tile(
    queries: Floats, near: Tensor, bounds: Bounds, items: Items, floor: Floats, best: Keys
) -> None:
    """Search one tile in one chunk. floor: (q,) score that a result must reach; best: (q, k) keys, written
    here."""
    floor = floor.copy()
    for first, width, block in items.blocks:
        scores = block.scores(near)
        errors = block.errors(bounds)
        rows, columns = candidates(scores, width, floor, errors, best.shape[1], block.rows)
        if len(rows) == 0:
            continue
        columns += first
        found = exact(queries, items.vectors, rows, columns)
        passed = found >= floor[rows]
        rows, keys = rows[passed], keys_of(found[passed], columns[passed])
        if len(rows) == 0:
            continue
        touched, kept = merged(best, rows, keys)
        best[touched] = kept
        worst = kept.min(axis=1)
        full = worst != NONE
        floor[touched[full]] = np.maximum(floor[touched[full]], scores_of(worst[full]))


def _ranks(ids: pa.Array) -> npt.NDArray[Any]:
    """Numbers in the order of the ids: equal ids equal numbers."""
    encoded = ids.dictionary_encode()
    rank = np.empty(len(encoded.dictionary), np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(rank))
    return rank[encoded.indices.to_numpy()]


@contextmanager
def _one_torch_thread(device: str) -> Iterator[None]:
    """Each of our threads computes by itself: without the barriers of torch's parallel loops."""
    before = torch.get_num_threads()
    if device == "cpu" and before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(min(before, os.cpu_count() or 1))
