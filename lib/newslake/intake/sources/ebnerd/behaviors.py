"""Rows of behaviors.parquet -> what intake.behaviors takes, and the readings that go with them."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.sources.ebnerd.columns import Field
from newslake.intake.sources.ebnerd.files import bad_measure, lacks_id, no_id, not_in_time

_CLICKED = "article_ids_clicked"
FIELDS = (
    Field("impression_id", "id", "impression_id", required=True),
    Field("user_id", "id", "user_id", required=True),
    Field("impression_time", "time", "occurred_at", required=True),
    Field("article_ids_inview", "id", "in_view", is_list=True, required=True),
    Field(_CLICKED, "id", "clicked", is_list=True, may_lack="test"),
    Field("article_id", "id", "page"),
    Field("read_time", "number", "page_seconds"),
    Field("scroll_percentage", "number", "page_scrolled"),
    Field("next_read_time", "number", "next_seconds"),
    Field("next_scroll_percentage", "number", "next_scrolled"),
    Field("is_beyond_accuracy", "flag", "is_sample"),
)


def parse_rows(rows: DataFrame) -> DataFrame:
    """Add labelled and candidates as intake.behaviors takes them, and `problem`: why a row cannot be used, or
    NULL.

    Rows of the test set's beyond-accuracy sample are left out: they are lists to rank that nobody was shown,
    all under one impression_id.

    Args:
        rows: of files.read_files with FIELDS.
    """
    rows = rows.where(~F.coalesce("is_sample", F.lit(False)))
    rows = rows.withColumn("labelled", (F.col("split") != "test") | ~F.array_contains("lacks", _CLICKED))
    rows = rows.withColumn("problem", _problem())
    return rows.withColumn("candidates", F.array_join(F.transform("in_view", _candidate), " "))


def with_history(parsed: DataFrame, histories: DataFrame | None, last: int | None = None) -> DataFrame:
    """Add history: what the user had read before the impression, oldest first, ids separated by one space;
    empty for a user without any.

    Args:
        parsed: of parse_rows.
        histories: of history.histories; None where no file has any.
        last: how many of the latest count; None: all.
    """
    if histories is None:
        return parsed.withColumn("history", F.lit(""))
    rows = parsed.join(histories.select("split", "user_id", "entries"), on=["split", "user_id"], how="left")
    before = F.filter("entries", lambda one: one["at"] < F.col("occurred_at"))
    if last is not None:
        before = F.slice(before, F.greatest(F.size(before) - last + 1, F.lit(1)), F.lit(last))
    ids = F.transform(before, lambda one: one["news_id"])
    return rows.withColumn("history", F.coalesce(F.array_join(ids, " "), F.lit(""))).drop("entries")


def _candidate(one: Column) -> Column:
    label = F.when(F.array_contains(F.col("clicked"), one), "-1").otherwise("-0")
    return F.when(F.col("labelled"), F.concat(one, label)).otherwise(one)


def _problem() -> Column:
    clicked, in_view = F.col("clicked"), F.col("in_view")
    return F.coalesce(
        no_id(F.col("impression_id"), "impression_id"),
        no_id(F.col("user_id"), "user_id"),
        not_in_time(F.col("occurred_at"), "impression_time"),
        F.when(F.coalesce(F.size("in_view"), F.lit(0)) < 1, "no articles in view"),
        F.when(lacks_id(in_view), "an article in view that has no whole number for an id"),
        F.when(F.col("labelled") & clicked.isNull(), f"no {_CLICKED}"),
        F.when(lacks_id(clicked), "a clicked article that has no whole number for an id"),
        F.when(F.size(F.array_except(clicked, in_view)) > 0, "an article clicked that was not in view"),
        no_id(F.col("page"), "article_id", required=False),
        bad_measure(F.col("page_seconds"), F.col("page_scrolled"), ("read_time", "scroll_percentage")),
        bad_measure(
            F.col("next_seconds"), F.col("next_scrolled"), ("next_read_time", "next_scroll_percentage")
        ),
    )
