"""Impressions, history and news -> candidates, indices, lists and clicks with their skips."""

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.files.folders import written
from newslake.lake.tablespec import table_spec
from newslake.spark.frames import frame_of
from newslake.training.data import examples
from newslake.training.data.time_splits import BySplit
from tests.training import frames
from tests.training.frames import collected

BEHAVIORS = [
    ("train", "1", "U1", "N9 N8", "N1-1 N2-0 N3-0 N9-0"),  # N9 was clicked before
    ("train", "2", "U2", "", "N2-1 N4-1 N5-0"),
    ("train", "3", "U3", "N6", "N6-1 N7-0"),  # its only click was clicked before
    ("dev", "1", "U1", "N1", "N1-0 N5-1 N10-0"),
    ("dev", "2", "U4", "", "N2-1"),
    ("test", "1", "U5", "", "N1-1 N2-0"),
    ("dev", "3", "U5", "", "N1 N2"),  # without labels
]
NEWS: list[frames.NewsRow] = [
    ("N1", "sports", "soccer", [("abstract", "Q2"), ("title", "Q1")]),
    ("N2", "news", None, [("abstract", "Q3")]),
    ("N20", "news", "world", []),
]


def schema(table: str) -> T.StructType:
    return table_spec(table).schema()


@pytest.fixture(scope="module")
def shown(spark: SparkSession) -> DataFrame:
    impressions = frames.impressions(spark, BEHAVIORS, schema("impressions"))
    history = frames.click_history(spark, BEHAVIORS, schema("click_history"))
    return examples.candidates(impressions, history, BySplit(["train"], ["dev"])).cache()


@pytest.fixture(scope="module")
def recent(spark: SparkSession, shown: DataFrame) -> DataFrame:
    history = frames.click_history(spark, BEHAVIORS, schema("click_history"))
    return examples.recent_clicks(shown, history, length=2).cache()


def test_candidates_are_labelled_of_the_splits_asked_for_and_not_clicked_before(shown: DataFrame) -> None:
    found = {
        (row["role"], row["split"], row["impression_id"], row["news_id"], row["clicked"])
        for row in shown.collect()
    }
    assert found == {
        ("train", "train", "1", "N1", True),
        ("train", "train", "1", "N2", False),
        ("train", "train", "1", "N3", False),
        ("train", "train", "2", "N2", True),
        ("train", "train", "2", "N4", True),
        ("train", "train", "2", "N5", False),
        ("train", "train", "3", "N7", False),
        ("valid", "dev", "1", "N5", True),
        ("valid", "dev", "1", "N10", False),
        ("valid", "dev", "2", "N2", True),
    }


def test_users_are_in_training_where_they_have_a_click_to_train_on(
    shown: DataFrame, recent: DataFrame
) -> None:
    assert {row["user_id"]: row["in_training"] for row in examples.users(shown, recent).collect()} == {
        "U1": True,
        "U2": True,
        "U3": False,
        "U4": False,
    }


def test_articles_have_their_attributes_where_there_are_any(spark: SparkSession, shown: DataFrame) -> None:
    found = {
        row.pop("news_id"): row
        for row in collected(examples.articles(shown, frames.news(spark, NEWS, schema("news"))), "news_id")
    }
    assert sorted(found) == ["N1", "N10", "N2", "N20", "N3", "N4", "N5", "N7"]
    assert found["N1"] == {
        "in_training": True,
        "has_news": True,
        "category": "sports",
        "subcategory": "soccer",
        "entity": "Q1",
    }
    assert found["N2"] == {
        "in_training": True,
        "has_news": True,
        "category": "news",
        "subcategory": None,
        "entity": "Q3",
    }
    assert found["N20"] == {
        "in_training": False,
        "has_news": True,
        "category": "news",
        "subcategory": "world",
        "entity": None,
    }
    assert found["N3"]["in_training"]
    assert not found["N3"]["has_news"]
    assert not found["N7"]["in_training"]  # shown in training, but beside no click
    assert not found["N10"]["in_training"]


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_indices_are_contiguous_and_the_same_whatever_the_partitions(
    spark: SparkSession, tmp_path: Path, partitions: int
) -> None:
    ids = spark.range(500).select(
        F.format_string("N%03d", F.col("id")).alias("news_id"),
        (F.xxhash64("id") % 3 == 0).alias("in_training"),
    )
    ids = ids.repartition(partitions, F.hash("news_id"))
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
    try:
        spread = written(examples.spread_by_range(ids, "news_id"), tmp_path / "spread")
        found = collected(examples.with_index(spread, "news_id", "article"), "article")
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", str(before))
    expected = sorted((not row["in_training"], row["news_id"]) for row in ids.collect())
    assert [(row["article"], not row["in_training"], row["news_id"]) for row in found] == [
        (i, *e) for i, e in enumerate(expected)
    ]


@pytest.fixture(scope="module")
def lists(spark: SparkSession, shown: DataFrame) -> DataFrame:
    user_index = frame_of(spark, [(f"U{i}", i) for i in range(1, 6)], "user_id string, user int")
    article_index = frame_of(spark, [(f"N{i}", i) for i in range(1, 11)], "news_id string, article int")
    histories = frame_of(
        spark, [("train", "1", 4), ("dev", "1", 5)], "split string, impression_id string, history int"
    )
    return examples.impression_lists(shown, user_index, article_index, histories).cache()


def test_histories_are_the_latest_clicks_once_each_numbered_without_gaps(
    spark: SparkSession, shown: DataFrame, tmp_path: Path
) -> None:
    behaviors = [
        ("train", "1", "U1", "N1 N2 N3", "N1-1"),
        ("train", "2", "U2", "N9 N2 N3", "N4-1"),  # the same two latest ones as U1
        ("train", "3", "U3", "N404", "N7-0"),  # no such article
        ("dev", "1", "U1", "N3 N2", "N5-1"),
        ("dev", "2", "U4", "", "N2-1"),
        ("dev", "3", "U5", "N1", "N6"),  # no label: not among the candidates
    ]
    history = frames.click_history(spark, behaviors, schema("click_history"))
    later = F.when(F.col("split") == "dev", F.col("occurred_at") + F.expr("INTERVAL 1 DAY")).otherwise(
        F.col("occurred_at")
    )
    recent = examples.recent_clicks(shown, history.withColumn("occurred_at", later), length=2)
    assert {(row["split"], row["impression_id"]): row["recent"] for row in recent.collect()} == {
        ("train", "1"): ["N3", "N2"],
        ("train", "2"): ["N3", "N2"],
        ("train", "3"): ["N404"],
        ("dev", "1"): ["N2", "N3"],
        ("dev", "2"): [],
    }
    spread = written(
        examples.spread_by_range(examples.distinct_histories(recent), "history_key"), tmp_path / "spread"
    )
    numbered = written(examples.with_index(spread, "history_key", "history"), tmp_path / "numbered")
    assert sorted(row["history"] for row in numbered.collect()) == [0, 1, 2]
    index = frame_of(spark, [("N2", 20), ("N3", 30)], "news_id string, article int")
    lists = {row["history"]: row["articles"] for row in examples.history_lists(numbered, index).collect()}
    # The list of nothing known is empty, and has no row.
    assert sorted(lists.values()) == [[20, 30], [30, 20]]
    of_first = examples.with_history(examples.users(shown, recent), numbered, "first_history").collect()
    assert {
        row["user_id"]: lists.get(row["first_history"])
        for row in of_first
        if row["user_id"] in ("U1", "U2", "U4")
    } == {
        "U1": [30, 20],
        "U2": [30, 20],
        "U4": None,
    }
    of_user = {
        row["user_id"]: row["history"]
        for row in examples.with_history(examples.users(shown, recent), numbered).collect()
    }
    assert lists[of_user["U1"]] == [20, 30]  # at the latest impression
    assert lists[of_user["U2"]] == [30, 20]
    assert of_user["U4"] == 0
    assert of_user["U3"] not in lists


def test_impression_lists_keep_the_order_shown(lists: DataFrame) -> None:
    found = {
        (row["role"], row["user"], row["history"], tuple(row["articles"]), tuple(row["labels"]))
        for row in lists.collect()
    }
    assert found == {
        ("train", 1, 4, (1, 2, 3), (1, 0, 0)),
        ("train", 2, 0, (2, 4, 5), (1, 1, 0)),
        ("train", 3, 0, (7,), (0,)),
        ("valid", 1, 5, (5, 10), (1, 0)),
        ("valid", 4, 0, (2,), (1,)),
    }
    assert lists.select("impression_key").distinct().count() == 5  # train's and dev's impression 1 are two


def test_list_sizes_count_clicks_whose_skips_are_too_many(lists: DataFrame) -> None:
    found = {row["role"]: row.asDict() for row in examples.list_sizes(lists, max_skips=1).collect()}
    names = ("impressions", "candidates", "clicks", "longest", "clicks_with_skips_left_out")
    assert [found["train"][name] for name in names] == [3, 7, 3, 2, 1]
    assert [found["valid"][name] for name in names] == [2, 3, 2, 1, 0]


def test_each_click_has_the_skips_of_its_impression_padded(lists: DataFrame) -> None:
    found = examples.clicks_with_skips(lists.where("role = 'train'"), width=4)
    columns = ("user", "history", "clicked", "skip_count")
    assert {(*(row[name] for name in columns), tuple(row["skips"])) for row in found.collect()} == {
        (1, 4, 1, 2, (2, 3, 0, 0)),
        (2, 0, 2, 1, (5, 0, 0, 0)),
        (2, 0, 4, 1, (5, 0, 0, 0)),
    }
    assert found.select("click_id").distinct().count() == 3


def test_a_click_beside_too_many_skips_keeps_a_fair_choice_of_them(spark: SparkSession) -> None:
    lists = spark.range(2000).select(
        F.xxhash64("id").alias("impression_key"),
        F.lit(0).alias("user"),
        F.lit(0).alias("history"),
        F.transform(F.sequence(F.lit(0), F.lit(10)), lambda i: i.cast("int")).alias("articles"),
        F.transform(
            F.sequence(F.lit(0), F.lit(10)), lambda i: F.when(i == 5, 1).otherwise(0).cast("tinyint")
        ).alias("labels"),
    )
    found = examples.clicks_with_skips(lists, width=3).collect()
    assert len(found) == 2000
    kept = [article for row in found for article in row["skips"]]
    assert {row["skip_count"] for row in found} == {3}
    assert all(len(set(row["skips"])) == 3 for row in found)
    counts = [kept.count(article) for article in range(11)]
    assert counts[5] == 0
    assert all(abs(count - 600) < 100 for article, count in enumerate(counts) if article != 5)


def test_a_click_without_skips_is_kept(spark: SparkSession) -> None:
    lists = spark.sql(
        "SELECT 1L AS impression_key, 7 AS user, 1 AS history, array(3) AS articles, array(1Y) AS labels"
    )
    row = examples.clicks_with_skips(lists, width=2).head()
    assert row is not None
    assert (row["user"], row["clicked"], row["skip_count"], row["skips"]) == (7, 3, 0, [0, 0])


def test_fixed_order_does_not_depend_on_how_the_rows_came(spark: SparkSession, tmp_path: Path) -> None:
    def order(rows: DataFrame, folder: Path) -> list[int]:
        back = written(examples.in_fixed_order(rows, "id", files=2), folder)
        return [row["id"] for row in back.withColumn("file", F.input_file_name()).coalesce(1).collect()]

    rows = spark.range(300)
    one, other = order(rows.repartition(5), tmp_path / "a"), order(rows.orderBy(F.desc("id")), tmp_path / "b")
    assert one == other
    assert sorted(one) == list(range(300))
    assert one != sorted(one)
