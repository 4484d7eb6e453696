"""Lines of behaviors.tsv -> rows of impressions and click_history.

The format is MIND's (https://msnews.github.io, Wu et al., ACL 2020): impression id, user id, time, history, impressions.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.frames import once
from newslake.mind.lines import IDENTITY, line_problem, split_fields

WIDTH = 5
KEY = ("split", "impression_id")
_PRINTS = ("impressions", "history")  # the two tables that a line fills
_NOT_IN_FILES = {"feed_hour": "timestamp", "rank": "int", "model": "string"}  # files do not say which newsfeed was shown
_TIME = "M/d/yyyy h:mm:ss a"
# Years that every reader of the tables can hold (pandas counts nanoseconds from 1970 in 64 bits).
_YEARS = ("1900-01-01", "2262-01-01")

# All of these only look for one place in the text: a repeated group would make Java's regex recurse, and overflow the stack
# on a long list.
_EMPTY_CANDIDATE = r"(?:^| )(?: |\z)"
_NO_DASH = r"(?:^| )[^ -]+(?: |\z)"
_NO_ID = r"(?:^| )-[01](?: |\z)"
_NO_LABEL = r"[^ ](?<!-[01])(?: |\z)"
_GLUED = "a comma or semicolon in the {}: ids are parted by blanks"


def parse_lines(lines: DataFrame, test_labels: bool | None = None) -> DataFrame:
    """Add what a line says, and `problem`: why it cannot be used, or NULL.

    Adds fields, impression_id, user_id, history and candidates (as in the file, ids parted by one space), occurred_at, and labelled:
    whether the candidates carry labels. Without the columns that nobody reads this costs no more than what is read.

    Args:
        lines: from lines.read_lines.
        test_labels: whether the lines of test carry labels; None: each does where one of its candidates ends in -0 or -1.
    """
    rows = split_fields(lines)
    names = ("impression_id", "user_id", "time", "history", "candidates")
    rows = rows.select("*", *(F.get("fields", F.lit(i)).alias(name) for i, name in enumerate(names)))
    rows = once(rows, "occurred_at", F.try_to_timestamp("time", F.lit(_TIME))).withColumn("labelled", _labelled(test_labels))
    return rows.withColumn("problem", _problem(guessed=test_labels is None))


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
        F.when(F.col("labelled"), F.left(candidate, F.length(candidate) - 2)).otherwise(candidate).alias("news_id"),
        F.when(F.col("labelled"), candidate.endswith("-1")).alias("clicked"),
        *(F.lit(None).cast(kind).alias(name) for name, kind in _NOT_IN_FILES.items()),
    )


def click_history(parsed: DataFrame) -> DataFrame:
    """One row per impression, as table click_history wants it; a user without history has an empty array."""
    ids = F.when(F.col("history") == "", F.array().cast("array<string>")).otherwise(F.split("history", " "))
    return parsed.select("split", "impression_id", "user_id", "occurred_at", ids.alias("news_ids"))


def claims(parsed: DataFrame, stored: DataFrame | None = None) -> DataFrame:
    """What lines.verdicts takes: which line claims to be which impression, and what the tables say of it.

    Args:
        parsed: lines with problem.
        stored: what stored_prints gives; None where nothing is stored.

    Returns:
        Also in_impressions and in_history: where the key is found.
    """
    usable = parsed.where(F.col("problem").isNull())
    light = usable.select(*IDENTITY, F.struct("split", "impression_id").alias("key"), _content().alias("content"), *_prints())
    if stored is None:
        light = light.select("*", *(F.lit(None).cast("bigint").alias(f"stored_{name}") for name in _PRINTS))
    else:
        known = stored.select(F.struct("split", "impression_id").alias("key"), *(f"stored_{name}" for name in _PRINTS))
        light = light.join(known, on="key", how="left")
    found = {name: F.col(f"stored_{name}").isNotNull() for name in _PRINTS}
    agrees = [~found[name] | (F.col(name) == F.col(f"stored_{name}")) for name in _PRINTS]
    return light.select(
        *IDENTITY,
        "key",
        "content",
        (found["impressions"] | found["history"]).alias("stored"),
        ((found["impressions"] | found["history"]) & agrees[0] & agrees[1]).alias("matches"),
        *(found[name].alias(f"in_{name}") for name in _PRINTS),
    )


def stored_prints(impressions: DataFrame, history: DataFrame) -> DataFrame:
    """split, impression_id, and a hash of what each of the two tables has of it (NULL: nothing)."""
    label = F.when(F.col("clicked"), "-1").when(~F.col("clicked"), "-0").otherwise("")
    candidate = F.xxhash64("position", F.concat("news_id", label))
    shown = impressions.groupBy("split", "impression_id").agg(
        F.min("user_id").alias("user_id"), F.min("occurred_at").alias("occurred_at"), F.bit_xor(candidate).alias("candidates")
    )
    shown = shown.select("split", "impression_id", F.xxhash64("user_id", "occurred_at", "candidates").alias("stored_impressions"))
    clicks = F.xxhash64("user_id", "occurred_at", F.array_join("news_ids", " ")).alias("stored_history")
    clicked = history.select("split", "impression_id", clicks)
    return shown.join(clicked, on=["split", "impression_id"], how="full_outer")


def _content() -> Column:
    """Hash of all that a line says: lines with one impression id and equal content are exact duplicates."""
    return F.xxhash64("user_id", "occurred_at", "history", "candidates")


def _prints() -> list[Column]:
    """Hashes of what a line puts into each table, equal to those of stored_prints where the table says the same."""
    # XOR, since a table's rows come in no order; the position is in each hash.
    hashes = F.transform(F.split("candidates", " "), lambda candidate, position: F.xxhash64(position, candidate))
    candidates = F.aggregate(hashes, F.lit(0).cast("bigint"), lambda so_far, one: so_far.bitwiseXOR(one))
    return [
        F.xxhash64("user_id", "occurred_at", candidates).alias("impressions"),
        F.xxhash64("user_id", "occurred_at", "history").alias("history"),
    ]


def _labelled(test_labels: bool | None) -> Column:
    """Whether the candidates of a line carry labels: always in train and dev. (A dash alone says nothing: ids may hold one.)"""
    if test_labels is not None:
        return (F.col("split") != "test") | F.lit(test_labels)
    candidates = F.concat(F.col("candidates"), F.lit(" "))
    return (F.col("split") != "test") | candidates.contains("-0 ") | candidates.contains("-1 ")


def _problem(*, guessed: bool) -> Column:
    history, candidates, labelled = F.col("history"), F.col("candidates"), F.col("labelled")
    first, end = (F.lit(day).cast("timestamp") for day in _YEARS)
    in_time = (F.col("occurred_at") >= first) & (F.col("occurred_at") < end)
    empty_id = history.startswith(" ") | history.endswith(" ") | history.contains("  ")
    return F.coalesce(
        line_problem(WIDTH),
        F.when(F.col("impression_id") == "", "empty impression_id")
        .when(F.col("user_id") == "", "empty user_id")
        .when(~F.coalesce(in_time, F.lit(False)), "time does not parse; wanted is M/D/YYYY h:mm:ss AM or PM")
        .when(empty_id, "an empty id in the history")
        .when(history.contains(",") | history.contains(";"), _GLUED.format("history"))
        .when(candidates == "", "no candidates")
        .when(candidates.contains(",") | candidates.contains(";"), _GLUED.format("candidates"))
        .when(labelled & _unclean(candidates), _label_problem(guessed=guessed))
        .when(~labelled & candidates.rlike(_EMPTY_CANDIDATE), "an empty candidate"),
    )


def _unclean(candidates: Column) -> Column:
    """Whether some candidate is not an id, a dash and 0 or 1. Every line is asked, so no regex: that takes three times as long."""
    # A label and the blank after it become a NUL, which no line holds that comes this far. A blank that is left had no label
    # before it, and of two NULs the second had no id. (In one chain: used twice, all of it would be computed twice.)
    cut = F.concat(F.lit("\0"), candidates, F.lit(" "))
    for label, mark in (("-0 ", "\0"), ("-1 ", "\0"), ("\0\0", " ")):
        cut = F.replace(cut, F.lit(label), F.lit(mark))
    return cut.contains(" ")


def _label_problem(*, guessed: bool) -> Column:
    """What is wrong with the first thing found wrong. A label is what follows the last dash."""
    candidates = F.col("candidates")
    only_some = F.lit(guessed) & (F.col("split") == "test") & candidates.rlike(_NO_LABEL)
    return (
        F.when(candidates.rlike(_EMPTY_CANDIDATE), "an empty candidate")
        .when(only_some, "some candidates end in -0 or -1 and some do not; where these are ids as they stand, say --no-test-labels")
        .when(candidates.rlike(_NO_DASH), "a candidate without - and label")
        .when(candidates.rlike(_NO_ID), "a candidate without an id")
        .otherwise("a label other than 0 or 1")
    )
