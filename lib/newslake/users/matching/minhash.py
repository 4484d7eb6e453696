"""The matcher by Spark ML's MinHashLSH, with bands: fast at any threshold and size, and it misses some
matches."""

from pyspark.ml.feature import HashingTF, MinHashLSH
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.spark.frames import Frames
from newslake.users.matching.candidates import meetings, verified
from newslake.users.matching.matcher import Matcher, check_threshold, named
from newslake.users.sets import set_hash, tag_hashes, tag_set

FEATURES = 1 << 30
"""Tags are numbered by a hash below this: below the prime of MinHashLSH, and high enough that few tags share
a number."""
LEAST_RECALL = 0.9


class MinHashMatcher(Matcher):
    """Sets meet where they agree in all minimum hashes of a band; the bands together are the tables (Leskovec
    et al., Mining of Massive Datasets, ch. 3). Spark's own join has bands of one hash, under which short sets
    meet that are not alike at all.
    """

    def __init__(self, tables: int = 32, seed: int = 0) -> None:
        self.tables, self.seed = tables, seed

    def rows(self, threshold: float) -> int:
        """Hashes in a band: the most, of 1, 2, 4 .., at which a pair right at the threshold is still met with
        LEAST_RECALL."""
        fitting = [2**e for e in range(self.tables.bit_length()) if 2**e <= self.tables]
        good = [r for r in fitting if 1.0 - (1.0 - threshold**r) ** (self.tables // r) >= LEAST_RECALL]
        return max(good, default=1)

    def pairs(self, new: DataFrame, stored: DataFrame, threshold: float, frames: Frames) -> DataFrame:
        """Most of the pairs at the threshold or over."""
        check_threshold(threshold)
        ours, theirs = (frames.keep(self._hashed(side)) for side in (new, stored))
        met = (
            meetings(self._bands(ours, threshold), self._bands(theirs, threshold), "key")
            .select("new_hash", "stored_hash")
            .distinct()
        )
        return named(verified(met, ours, theirs).where(F.col("jaccard") >= threshold))

    def _hashed(self, phrases: DataFrame) -> DataFrame:
        """set_hash, hashes, and minima: the tables' hashes, one vector of one entry each."""
        sets = phrases.select(tag_set(F.col("tags")).alias("tags")).where(F.size("tags") > 0)
        vectors = HashingTF(numFeatures=FEATURES, binary=True, inputCol="tags", outputCol="vector").transform(
            sets
        )
        lsh = MinHashLSH(inputCol="vector", outputCol="minima", numHashTables=self.tables, seed=self.seed)
        hashed = (
            lsh.fit(vectors.limit(1))
            .transform(vectors)
            .select(tag_hashes(F.col("tags")).alias("hashes"), "minima")
        )
        return hashed.select(set_hash(F.col("hashes")).alias("set_hash"), "hashes", "minima")

    def _bands(self, hashed: DataFrame, threshold: float) -> DataFrame:
        rows = self.rows(threshold)
        bands = [
            F.xxhash64(F.lit(band), F.slice("minima", band * rows + 1, rows))
            for band in range(self.tables // rows)
        ]
        return hashed.select(F.explode(F.array(*bands)).alias("key"), "set_hash")
