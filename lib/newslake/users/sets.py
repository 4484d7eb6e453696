"""Tag sets: their identity, their text and their similarity, as columns. What two tag phrases are compared
by."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

MAX_TAGS = 4_095
"""Tags of one set: beyond it a set is no phrase (and sizes no longer fit where matching packs them)."""
_LOWEST = -(2**63)
_SEPARATOR = ", "


def tag_set(tags: Column) -> Column:
    """The distinct tags, in the order of their UTF-8 bytes; NULLs and empty tags dropped."""
    return F.array_sort(F.array_distinct(F.filter(tags, lambda tag: tag.isNotNull() & (tag != ""))))


def phrase_text(tags: Column) -> Column:
    """What is encoded: the distinct tags in one order, whatever theirs, so that equal sets have equal
    vectors."""
    return F.array_join(tag_set(tags), _SEPARATOR)


def tag_hashes(tags: Column) -> Column:
    """xxhash64 of each distinct tag, sorted: array<bigint>, the form in which sets are compared.

    Two of a million different tags share a hash with a probability of 3 in 100 million.
    """
    return F.array_sort(F.array_distinct(F.transform(tag_set(tags), lambda tag: F.xxhash64(tag))))


def set_hash(hashes: Column) -> Column:
    """Order-free 64-bit hash of a set: the XOR of its tags' hashes. A tag leaves the set by one more XOR."""
    return F.aggregate(hashes, F.lit(0).cast("bigint"), lambda so_far, one: so_far.bitwiseXOR(one))


def phrase_id_of(hashes: Column) -> Column:
    """The identity of a set, from what tag_hashes gives: 128 bits, two order-free hashes, as 32 hexadecimal
    digits.

    The first 16 digits are set_hash with its sign bit turned, so that ids sort as the signed numbers do.
    """
    second = F.aggregate(
        hashes, F.lit(0).cast("bigint"), lambda so_far, one: so_far.bitwiseXOR(F.xxhash64(one))
    )
    return F.concat(_digits(set_hash(hashes).bitwiseXOR(F.lit(_LOWEST).cast("bigint"))), _digits(second))


def phrase_id(tags: Column) -> Column:
    """The identity of a phrase: that of its set of tags, whatever their order and however often each is
    there."""
    return phrase_id_of(tag_hashes(tags))


def jaccard(ours: Column, theirs: Column) -> Column:
    """Shared tags over all tags of two sets, each an array without repeats; NULL where both are empty."""
    shared = F.size(F.array_intersect(ours, theirs))
    return F.try_divide(shared.cast("double"), F.size(ours) + F.size(theirs) - shared)


def as_sets(phrases: DataFrame) -> DataFrame:
    """Phrases as matchers compare them, narrow: set_hash bigint, hashes array<bigint>. Empty sets are left
    out.

    Args:
        phrases: column tags, array<string>; no set twice.
    """
    hashed = phrases.select(tag_hashes(F.col("tags")).alias("hashes")).where(F.size("hashes") > 0)
    return hashed.select(set_hash(F.col("hashes")).alias("set_hash"), "hashes")


def _digits(number: Column) -> Column:
    return F.lpad(F.lower(F.hex(number)), 16, "0")
