"""The matcher by datasketch: an index inside one process, for look-ups of a few sets such as those of a
micro-batch."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from datasketch import MinHash, MinHashLSH
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.spark.frames import Frames
from newslake.users.matching.matcher import Matcher, check_threshold, named
from newslake.users.sets import as_sets

_FOUND = "new_hashes array<bigint>, stored_hashes array<bigint>, jaccard double"


class SetIndex:
    """Sets of 64-bit tag hashes in a MinHashLSH of datasketch (Ekzhu's,
    https://ekzhu.com/datasketch/lsh.html).

    Args:
        threshold: Jaccard similarity from which sets are found; bands are chosen for recall, since what is
            found is verified.
        permutations: hash functions.
        seed: of the hash functions.
    """

    def __init__(self, threshold: float, permutations: int = 128, seed: int = 0) -> None:
        # datasketch takes no threshold of 1: its parameters are chosen a little below.
        self._lsh = MinHashLSH(threshold=min(threshold, 0.95), num_perm=permutations, weights=(0.1, 0.9))
        self._threshold, self._permutations, self._seed = threshold, permutations, seed
        self._sets: list[frozenset[int]] = []

    def add(self, sets: Sequence[np.ndarray]) -> None:
        """Put sets into the index; they are numbered in the order in which they come, from 0."""
        first = len(self._sets)
        for number, sketch in enumerate(self._sketches(sets), first):
            self._lsh.insert(number, sketch, check_duplication=False)
        self._sets += [frozenset(one.tolist()) for one in sets]

    def search(self, sets: Sequence[np.ndarray]) -> Iterator[list[tuple[int, float]]]:
        """For each set the (number, Jaccard similarity) of those found at the threshold or over."""
        for one, sketch in zip(sets, self._sketches(sets), strict=True):
            ours = frozenset(one.tolist())
            found = ((number, _jaccard(ours, self._sets[number])) for number in self._lsh.query(sketch))
            yield [(number, similarity) for number, similarity in found if similarity >= self._threshold]

    def _sketches(self, sets: Sequence[np.ndarray]) -> Iterator[MinHash]:
        # The tags are hashed already; datasketch wants 32 bits of each.
        return MinHash.generator(
            [_as_32_bits(one) for one in sets], num_perm=self._permutations, seed=self._seed, hashfunc=int
        )


class DatasketchMatcher(Matcher):
    """Both sides go to one task; a side over `most_sets` is refused."""

    def __init__(self, seed: int = 0, most_sets: int = 1_000_000) -> None:
        self.seed, self.most_sets = seed, most_sets

    def pairs(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """Most of the pairs at the threshold or over.

        Raises:
            UserError: a side has more sets than one process should take.
        """
        check_threshold(threshold)
        for side in (new, stored):
            if side.limit(self.most_sets + 1).count() > self.most_sets:
                raise UserError(
                    f"--matcher datasketch takes up to {self.most_sets:,} phrases on a side: use exact or"
                    " minhash"
                )
        ours = as_sets(new).select("hashes", F.lit(True).alias("is_new"))
        theirs = as_sets(stored).select("hashes", F.lit(False).alias("is_new"))
        together = ours.unionByName(theirs).repartition(1).sortWithinPartitions("is_new")
        return named(together.mapInArrow(partial(_search, threshold, self.seed), _FOUND))


def _search(threshold: float, seed: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What runs in the worker: (hashes, is_new), stored sets first; out come the pairs found."""
    index = SetIndex(threshold, seed=seed)
    known: list[np.ndarray] = []
    for batch in batches:
        lists, is_new = batch.column("hashes"), batch.column("is_new").to_numpy(zero_copy_only=False)
        starts, values = lists.offsets.to_numpy(), lists.values.to_numpy(zero_copy_only=False)
        sets = [values[starts[row] : starts[row + 1]].copy() for row in range(len(lists))]
        first_new = int(np.searchsorted(is_new, True))
        index.add(sets[:first_new])
        known += sets[:first_new]
        ours, theirs, similarities = [], [], []
        for one, found in zip(sets[first_new:], index.search(sets[first_new:]), strict=True):
            for number, similarity in found:
                ours.append(one)
                theirs.append(known[number])
                similarities.append(similarity)
        columns = [
            pa.array(ours, pa.list_(pa.int64())),
            pa.array(theirs, pa.list_(pa.int64())),
            pa.array(similarities, pa.float64()),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=["new_hashes", "stored_hashes", "jaccard"])


def _as_32_bits(hashes: np.ndarray) -> list[int]:
    return (hashes.view(np.uint64) >> np.uint64(32)).tolist()


def _jaccard(ours: frozenset[int], theirs: frozenset[int]) -> float:
    shared = len(ours & theirs)
    return shared / (len(ours) + len(theirs) - shared)
