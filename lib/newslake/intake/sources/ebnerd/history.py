"""Rows of history.parquet -> what each user had read before the split begins."""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.behaviors import in_time
from newslake.intake.sources.ebnerd.columns import Field
from newslake.intake.sources.ebnerd.files import lacks_id, no_id
from newslake.intake.verdicts import new_claims

KEY = ("split", "user_id")
FIELDS = (
    Field("user_id", "id", "user_id", required=True),
    Field("impression_time_fixed", "time", "times", is_list=True, required=True),
    Field("article_id_fixed", "id", "articles", is_list=True, required=True),
    Field("read_time_fixed", "number", "seconds", is_list=True),
    Field("scroll_percentage_fixed", "number", "scrolled", is_list=True),
)
_LISTS = {field.made: field.name for field in FIELDS if field.is_list}


def parse_rows(rows: DataFrame) -> DataFrame:
    """Add `problem`: why a row cannot be used, or NULL.

    Args:
        rows: of files.read_files with FIELDS.
    """
    return rows.withColumn("problem", _problem())


def histories(parsed: DataFrame) -> DataFrame:
    """One row per user and split: split, user_id, arrived_at, and entries: (at, place, news_id, seconds,
    scrolled), oldest first."""
    entries = F.transform("articles", _entry)
    # By time, and where two have one by their place.
    return parsed.select("split", "user_id", "arrived_at", F.array_sort(entries).alias("entries"))


def claims(parsed: DataFrame) -> DataFrame:
    """What verdicts.verdicts takes: which row claims to be the history of which user."""
    return new_claims(parsed, F.struct("split", "user_id"), F.xxhash64("value"))


def _entry(news_id: Column, place: Column) -> Column:
    at, seconds, scrolled = (F.get(name, place) for name in ("times", "seconds", "scrolled"))
    return F.struct(
        at.alias("at"),
        place.alias("place"),
        news_id.alias("news_id"),
        seconds.alias("seconds"),
        scrolled.alias("scrolled"),
    )


def _problem() -> Column:
    given = {made: ~F.array_contains("lacks", name) for made, name in _LISTS.items()}
    missing = F.coalesce(
        *(F.when(given[made] & F.col(made).isNull(), f"no {name}") for made, name in _LISTS.items())
    )
    unequal = reduce(Column.__or__, (given[made] & (F.size(made) != F.size("articles")) for made in _LISTS))
    return F.coalesce(
        no_id(F.col("user_id"), "user_id"),
        missing,
        F.when(unequal, "lists of unequal length"),
        F.when(
            lacks_id(F.col("articles")), "an entry without an article, or with one that is no whole number"
        ),
        F.when(F.exists("times", lambda one: ~in_time(one)), "an entry whose time is no time"),
        F.when(F.exists("seconds", lambda one: F.coalesce(one < 0, F.lit(False))), "a negative read time"),
        F.when(
            F.exists("scrolled", lambda one: F.coalesce(~one.between(0, 100), F.lit(False))),
            "a scroll percentage that is not between 0 and 100",
        ),
    )
