"""Lines of behaviors.tsv -> what intake.behaviors takes.

The format is MIND's (https://msnews.github.io, Wu et al., ACL 2020): impression id, user id, time, history,
impressions.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.behaviors import in_time
from newslake.intake.lines import line_problem, split_fields
from newslake.spark.frames import once

WIDTH = 5
_TIME = "M/d/yyyy h:mm:ss a"

# All of these only look for one place in the text: a repeated group would make Java's regex recurse, and
# overflow the stack on a long list.
_EMPTY_CANDIDATE = r"(?:^| )(?: |\z)"
_NO_DASH = r"(?:^| )[^ -]+(?: |\z)"
_NO_ID = r"(?:^| )-[01](?: |\z)"
_NO_LABEL = r"[^ ](?<!-[01])(?: |\z)"
_GLUED = "a comma or semicolon in the {}: ids are parted by blanks"


def parse_lines(lines: DataFrame, test_labels: bool | None = None) -> DataFrame:
    """Add what a line says, and `problem`: why it cannot be used, or NULL.

    Adds fields, and what intake.behaviors takes, history and candidates as in the file. Without the columns
    that nobody reads this costs no more than what is read.

    Args:
        lines: from lines.read_lines.
        test_labels: whether the lines of test carry labels; None: each does where one of its candidates ends
            in -0 or -1.
    """
    rows = split_fields(lines)
    names = ("impression_id", "user_id", "time", "history", "candidates")
    rows = rows.select("*", *(F.get("fields", F.lit(i)).alias(name) for i, name in enumerate(names)))
    rows = once(rows, "occurred_at", F.try_to_timestamp("time", F.lit(_TIME))).withColumn(
        "labelled", _labelled(test_labels)
    )
    return rows.withColumn("problem", _problem(guessed=test_labels is None))


def _labelled(test_labels: bool | None) -> Column:
    """Whether the candidates of a line carry labels: always in train and dev. (A dash alone says nothing: ids
    may hold one.)"""
    if test_labels is not None:
        return (F.col("split") != "test") | F.lit(test_labels)
    candidates = F.concat(F.col("candidates"), F.lit(" "))
    return (F.col("split") != "test") | candidates.contains("-0 ") | candidates.contains("-1 ")


def _problem(*, guessed: bool) -> Column:
    history, candidates, labelled = F.col("history"), F.col("candidates"), F.col("labelled")
    empty_id = history.startswith(" ") | history.endswith(" ") | history.contains("  ")
    return F.coalesce(
        line_problem(WIDTH),
        F.when(F.col("impression_id") == "", "empty impression_id")
        .when(F.col("user_id") == "", "empty user_id")
        .when(~in_time(F.col("occurred_at")), "time does not parse; wanted is M/D/YYYY h:mm:ss AM or PM")
        .when(empty_id, "an empty id in the history")
        .when(history.contains(",") | history.contains(";"), _GLUED.format("history"))
        .when(candidates == "", "no candidates")
        .when(candidates.contains(",") | candidates.contains(";"), _GLUED.format("candidates"))
        .when(labelled & _unclean(candidates), _label_problem(guessed=guessed))
        .when(~labelled & candidates.rlike(_EMPTY_CANDIDATE), "an empty candidate"),
    )


def _unclean(candidates: Column) -> Column:
    """Whether some candidate is not an id, a dash and 0 or 1. Every line is asked, so no regex: that takes
    three times as long."""
    # A label and the blank after it become a NUL, which no line holds that comes this far. A blank that is
    # left had no label before it, and of two NULs the second had no id. (In one chain: used twice, all of it
    # would be computed twice.)
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
        .when(
            only_some,
            "some candidates end in -0 or -1 and some do not; where these are ids as they stand, say"
            " --no-test-labels",
        )
        .when(candidates.rlike(_NO_DASH), "a candidate without - and label")
        .when(candidates.rlike(_NO_ID), "a candidate without an id")
        .otherwise("a label other than 0 or 1")
    )
