"""Impressions as files bring them -> rows of impressions and click_history, and how they meet the rows that
are there already.

A reader of files parses a line to these columns: those of verdicts.IDENTITY, arrived_at, problem (why it
cannot be used, or NULL), impression_id, user_id, occurred_at, history and candidates (ids separated by one
space; oldest first, and in the order shown), and labelled: whether each candidate ends in -0 or -1, which
says whether it was clicked. (Texts, not arrays: a line is read for its hash and its number of candidates more
often than for the ids.)
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.verdicts import IDENTITY

KEY = ("split", "impression_id")
_FINGERPRINTED = ("impressions", "history")  # the two tables that a line fills
# Files do not say which newsfeed was shown.
_NOT_IN_FILES = {"feed_hour": "timestamp", "rank": "int", "model": "string"}
# Years that every reader of the tables can hold (pandas counts nanoseconds from 1970 in 64 bits).
_YEARS = ("1900-01-01", "2262-01-01")


def in_time(moment: Column) -> Column:
    """Whether a time is there, and in the years that the tables take."""
    first, end = (F.lit(day).cast("timestamp") for day in _YEARS)
    return F.coalesce((moment >= first) & (moment < end), F.lit(False))


def impressions(parsed: DataFrame) -> DataFrame:
    """One row per candidate, as table impressions wants it.

    Args:
        parsed: lines without a problem, of one or several splits.
    """
    shown = parsed.select(
        "split",
        "impression_id",
        "user_id",
        "occurred_at",
        F.col("arrived_at").alias("ingested_at"),
        "labelled",
        F.posexplode(F.split("candidates", " ")).alias("position", "candidate"),
    )
    candidate = F.col("candidate")
    return shown.select(
        "split",
        "impression_id",
        "position",
        "user_id",
        "occurred_at",
        "ingested_at",
        F.when(F.col("labelled"), F.left(candidate, F.length(candidate) - 2))
        .otherwise(candidate)
        .alias("news_id"),
        F.when(F.col("labelled"), candidate.endswith("-1")).alias("clicked"),
        *(F.lit(None).cast(kind).alias(name) for name, kind in _NOT_IN_FILES.items()),
    )


def click_history(parsed: DataFrame) -> DataFrame:
    """One row per impression, as table click_history wants it; a user without history has an empty array."""
    ids = F.when(F.col("history") == "", F.array().cast("array<string>")).otherwise(F.split("history", " "))
    return parsed.select("split", "impression_id", "user_id", "occurred_at", ids.alias("news_ids"))


def claims(parsed: DataFrame, stored: DataFrame | None = None, more: Sequence[str] = ()) -> DataFrame:
    """What lines.verdicts takes: which line claims to be which impression, and what the tables say of it.

    Args:
        parsed: lines with problem.
        stored: what stored_fingerprints gives; None where nothing is stored.
        more: further columns that two lines must agree in to say the same.

    Returns:
        Also in_impressions and in_history: where the key is found.
    """
    usable = parsed.where(F.col("problem").isNull())
    light = usable.select(
        *IDENTITY,
        F.struct("split", "impression_id").alias("key"),
        _content(more).alias("content"),
        *_fingerprints(),
    )
    if stored is None:
        light = light.select(
            "*", *(F.lit(None).cast("bigint").alias(f"stored_{name}") for name in _FINGERPRINTED)
        )
    else:
        known = stored.select(
            F.struct("split", "impression_id").alias("key"), *(f"stored_{name}" for name in _FINGERPRINTED)
        )
        light = light.join(known, on="key", how="left")
    found = {name: F.col(f"stored_{name}").isNotNull() for name in _FINGERPRINTED}
    agrees = [~found[name] | (F.col(name) == F.col(f"stored_{name}")) for name in _FINGERPRINTED]
    return light.select(
        *IDENTITY,
        "key",
        "content",
        (found["impressions"] | found["history"]).alias("stored"),
        ((found["impressions"] | found["history"]) & agrees[0] & agrees[1]).alias("matches"),
        *(found[name].alias(f"in_{name}") for name in _FINGERPRINTED),
    )


def stored_fingerprints(impressions: DataFrame, history: DataFrame) -> DataFrame:
    """split, impression_id, and a hash of what each of the two tables has of it (NULL: nothing)."""
    label = F.when(F.col("clicked"), "-1").when(~F.col("clicked"), "-0").otherwise("")
    candidate = F.xxhash64("position", F.concat("news_id", label))
    shown = impressions.groupBy("split", "impression_id").agg(
        F.min("user_id").alias("user_id"),
        F.min("occurred_at").alias("occurred_at"),
        F.bit_xor(candidate).alias("candidates"),
    )
    shown = shown.select(
        "split",
        "impression_id",
        F.xxhash64("user_id", "occurred_at", "candidates").alias("stored_impressions"),
    )
    clicks = F.xxhash64("user_id", "occurred_at", F.array_join("news_ids", " ")).alias("stored_history")
    clicked = history.select("split", "impression_id", clicks)
    return shown.join(clicked, on=["split", "impression_id"], how="full_outer")


def _content(more: Sequence[str]) -> Column:
    """Hash of all that a line says: lines with one impression id and equal content are exact duplicates."""
    return F.xxhash64("user_id", "occurred_at", "history", "candidates", *more)


def _fingerprints() -> list[Column]:
    """Hashes of what a line puts into each table, equal to those of stored_fingerprints where the table says
    the same."""
    # XOR, since a table's rows come in no order; the position is in each hash.
    hashes = F.transform(
        F.split("candidates", " "), lambda candidate, position: F.xxhash64(position, candidate)
    )
    candidates = F.aggregate(hashes, F.lit(0).cast("bigint"), lambda so_far, one: so_far.bitwiseXOR(one))
    return [
        F.xxhash64("user_id", "occurred_at", candidates).alias("impressions"),
        F.xxhash64("user_id", "occurred_at", "history").alias("history"),
    ]
