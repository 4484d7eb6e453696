"""Candidate pairs: rows of two sides that meet under a key, however common the key, and their
verification."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.users.sets import jaccard

MOST_PER_KEY = 2_000
"""Rows of one side that meet under one key in one place; a key with more is cut into blocks, which spread
over the tasks."""


def meetings(new_keys: DataFrame, stored_keys: DataFrame, *on: str, most: int = MOST_PER_KEY) -> DataFrame:
    """Pairs of set hashes that share a key, each pair perhaps several times: new_hash, stored_hash, and the
    columns of both.

    A key that is common on a side is cut into blocks of about `most` rows, by the sets' hashes, and each
    block of one side meets each block of the other: so no task gets more than `most` x `most` pairs of one
    key (Okcan and Riedewald, SIGMOD 2011).

    Args:
        new_keys, stored_keys: set_hash, the columns `on`, and others, whose names differ.
    """
    common = _common(new_keys, on, "new", most).join(
        _common(stored_keys, on, "stored", most), on=list(on), how="full_outer"
    )
    left = _cut(new_keys, common, on, own="new").withColumnRenamed("set_hash", "new_hash")
    right = _cut(stored_keys, common, on, own="stored").withColumnRenamed("set_hash", "stored_hash")
    return left.join(right, on=[*on, "new_block", "stored_block"], how="inner")


def verified(
    pairs: DataFrame, new_sets: DataFrame, stored_sets: DataFrame, *, few: bool = False
) -> DataFrame:
    """The exact Jaccard similarity of candidate pairs, from their tags' hashes.

    Args:
        pairs: new_hash, stored_hash, and others, which are kept.
        new_sets, stored_sets: set_hash, hashes.
        few: send the pairs to where the stored sets lie.

    Returns:
        The columns of pairs, new_hashes, stored_hashes, jaccard.
    """
    ours = new_sets.select(F.col("set_hash").alias("new_hash"), F.col("hashes").alias("new_hashes"))
    theirs = stored_sets.select(
        F.col("set_hash").alias("stored_hash"), F.col("hashes").alias("stored_hashes")
    )
    half = pairs.join(ours, on="new_hash", how="inner")
    both = (F.broadcast(half) if few else half).join(theirs, on="stored_hash", how="inner")
    return both.withColumn("jaccard", jaccard(F.col("new_hashes"), F.col("stored_hashes")))


def _common(keys: DataFrame, on: tuple[str, ...], own: str, most: int) -> DataFrame:
    """Keys that more than `most` rows of one side have, and into how many blocks they are cut. There are few
    of them."""
    counted = keys.groupBy(*on).agg(F.count("*").alias("rows")).where(F.col("rows") > most)
    return counted.select(*on, F.ceil(F.col("rows") / most).cast("int").alias(f"{own}_blocks"))


def _cut(keys: DataFrame, common: DataFrame, on: tuple[str, ...], *, own: str) -> DataFrame:
    """Each row in its own block of this side, once for every block of the other."""
    other = {"new": "stored", "stored": "new"}[own]
    known = keys.join(F.broadcast(common), on=list(on), how="left")
    own_blocks, other_blocks = (F.coalesce(F.col(f"{side}_blocks"), F.lit(1)) for side in (own, other))
    # A hash of the hash: its own last bits decide on other things too.
    return known.withColumn(f"{own}_block", F.pmod(F.xxhash64("set_hash"), own_blocks).cast("int")).select(
        *keys.columns,
        f"{own}_block",
        F.explode(F.sequence(F.lit(0), other_blocks - 1)).alias(f"{other}_block"),
    )
