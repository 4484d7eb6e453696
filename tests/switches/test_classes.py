"""The class of an article: corrected where the vote changed it, found where the source gave none, else the
source's."""

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from newslake.spark.frames import frame_of
from newslake.switches.classes import current_classifiers, with_corrected_class, with_found_class


def news(spark: SparkSession, rows: Sequence[tuple[str, str, str | None, str | None]]) -> DataFrame:
    """Rows of news as far as they matter, with a column that stays as it is."""
    return frame_of(
        spark,
        [(*row, "t") for row in rows],
        "news_id string, content_hash string, category string, subcategory string, title string",
    )


def classes(rows: DataFrame) -> dict[str, tuple[str | None, str | None]]:
    """news_id -> category, subcategory."""
    assert rows.columns == ["news_id", "content_hash", "category", "subcategory", "title"]
    return {row["news_id"]: (row["category"], row["subcategory"]) for row in rows.collect()}


def test_a_changed_class_holds_for_the_text_and_the_class_that_were_voted_on(spark: SparkSession) -> None:
    given = [
        ("changed", "h", "music", "pop"),
        ("confirmed", "h", "music", "pop"),
        ("named", "h", None, None),
        ("rewritten", "h2", "music", "pop"),
        ("relabelled", "h", "sports", "golf"),
        ("long", "h", "sports", "golf"),
    ]
    voted: list[tuple[str, str, str | None, str]] = [
        (key, "h", "music", "autos") for key in ("changed", "rewritten", "relabelled")
    ]
    voted += [
        ("confirmed", "h", "music", "music"),
        ("named", "h", None, "autos"),
        ("gone", "h", "music", "autos"),
    ]
    corpus = frame_of(spark, voted, "news_id string, content_hash string, old_class string, class string")
    assert classes(with_corrected_class(news(spark, given), corpus)) == {
        "changed": ("autos", None),
        "confirmed": ("music", "pop"),
        "named": ("autos", None),
        "rewritten": ("music", "pop"),
        "relabelled": ("sports", "golf"),
        "long": ("sports", "golf"),
    }


def test_only_an_article_without_a_class_takes_a_sure_one(spark: SparkSession) -> None:
    given = [(key, "h", None, None) for key in ("sure", "unsure", "rewritten", "twice")] + [
        ("own", "h", "music", "pop")
    ]
    found = [
        ("sure", "h", "autos", 0.95),
        ("unsure", "h", "autos", 0.9),
        ("rewritten", "h1", "autos", 0.95),
        ("own", "h", "autos", 0.99),
    ]
    found += [("twice", "h", "autos", 0.92), ("twice", "h", "sports", 0.97)]
    scores = frame_of(spark, found, "news_id string, content_hash string, class string, score double")
    assert classes(with_found_class(news(spark, given), scores)) == {
        "sure": ("autos", None),
        "unsure": (None, None),
        "rewritten": (None, None),
        "twice": ("sports", None),
        "own": ("music", "pop"),
    }


def test_the_current_classifier_is_the_one_trained_last(spark: SparkSession) -> None:
    days = {"long-b": 8, "long-a": 15, "long-c": None, "short-a": None, "short-b": None}
    rows = [(key.split("-")[0], key, day and datetime(2019, 11, day)) for key, day in days.items()]
    runs = frame_of(spark, rows, "trained_on string, model_run string, trained_at timestamp")
    assert {row["trained_on"]: row["model_run"] for row in current_classifiers(runs).collect()} == {
        "long": "long-a",
        "short": "short-b",
    }
