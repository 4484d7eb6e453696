"""What becomes of each row of EB-NeRD's files, on frames alone: no table is written."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from newslake.errors import UserError
from newslake.intake.behaviors import click_history, impressions
from newslake.intake.sources.ebnerd import articles, behaviors, history, reads
from newslake.intake.sources.ebnerd.files import as_rejected, read_files
from newslake.intake.sources.ebnerd.tables import Kind, find_sources
from tests.intake.ebnerd.made import (
    Row,
    World,
    article,
    eb,
    expected_histories,
    expected_impressions,
    expected_reads,
    impression,
    past,
    world,
    written,
)

T = datetime(2023, 5, 18, 8)
MODULES: dict[str, Any] = {"articles": articles, "behaviors": behaviors, "history": history}


def parsed(spark: SparkSession, kind: Kind, file: str, option: str = "train") -> DataFrame:
    """The rows of one file, each with its problem."""
    sources = find_sources(
        spark, [file] if kind == "articles" else [], {} if kind == "articles" else {option: [file]}
    )
    [rows] = read_files(spark, sources, MODULES[kind].FIELDS).values()
    return MODULES[kind].parse_rows(rows)


def problems(rows: DataFrame) -> list[str | None]:
    """Of each row, in the file's order."""
    return [
        row["problem"] for row in sorted(rows.select("row", "problem").collect(), key=lambda row: row["row"])
    ]


GOOD = impression(1, 1, T, [5, 6, 7], [6])
BAD_BEHAVIORS: Sequence[tuple[str, Row]] = [
    ("no impression_id", {**GOOD, "impression_id": None}),
    ("impression_id is no whole number", {**GOOD, "impression_id": -3}),
    ("no user_id", {**GOOD, "impression_id": 3, "user_id": None}),
    ("no impression_time", {**GOOD, "impression_id": 4, "impression_time": None}),
    (
        "impression_time is no time between 1900 and 2261",
        {**GOOD, "impression_id": 5, "impression_time": datetime(1601, 1, 1)},
    ),
    ("no articles in view", {**GOOD, "impression_id": 6, "article_ids_inview": []}),
    ("no articles in view", {**GOOD, "impression_id": 7, "article_ids_inview": None}),
    (
        "an article in view that has no whole number for an id",
        {**GOOD, "impression_id": 8, "article_ids_inview": [5, None, 6]},
    ),
    ("no article_ids_clicked", {**GOOD, "impression_id": 9, "article_ids_clicked": None}),
    (
        "a clicked article that has no whole number for an id",
        {**GOOD, "impression_id": 10, "article_ids_clicked": [None]},
    ),
    ("an article clicked that was not in view", {**GOOD, "impression_id": 11, "article_ids_clicked": [6, 8]}),
    ("article_id is no whole number", {**GOOD, "impression_id": 12, "article_id": -1}),
    ("read_time is negative", {**GOOD, "impression_id": 13, "read_time": -1.0}),
    ("scroll_percentage is not between 0 and 100", {**GOOD, "impression_id": 14, "scroll_percentage": 101.0}),
    ("next_read_time is negative", {**GOOD, "impression_id": 15, "next_read_time": -0.5}),
    (
        "next_scroll_percentage is not between 0 and 100",
        {**GOOD, "impression_id": 16, "next_scroll_percentage": -1.0},
    ),
]


def test_every_bad_row_of_behaviors_has_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    signed = {"impression_id": pa.int64()}
    file = written(
        tmp_path / "behaviors.parquet",
        [GOOD, *(row for _, row in BAD_BEHAVIORS), GOOD],
        "behaviors",
        types=signed,
    )
    rows = parsed(spark, "behaviors", file)
    assert problems(rows) == [None, *(reason for reason, _ in BAD_BEHAVIORS), None]
    kept = (
        as_rejected(rows.withColumnRenamed("problem", "reason"), "impression_id")
        .where("reason IS NOT NULL")
        .collect()
    )
    numbers = {row["line_number"]: (row["record_id"], row["source"].rsplit("/", 1)[-1]) for row in kept}
    assert sorted(numbers) == list(range(2, 2 + len(BAD_BEHAVIORS)))
    assert (numbers[2], numbers[3], numbers[12]) == (
        (None, file_name := "behaviors.parquet"),
        (None, file_name),
        ("EB11", file_name),
    )


EARLIER = T - timedelta(days=1)
ENTRY = (EARLIER, 5, 10.0, 50.0)
BAD_HISTORIES: Sequence[tuple[str, Row]] = [
    ("no user_id", {**past(2, ENTRY), "user_id": None}),
    ("no impression_time_fixed", {**past(2, ENTRY), "impression_time_fixed": None}),
    ("no read_time_fixed", {**past(2, ENTRY), "read_time_fixed": None}),
    ("lists of unequal length", {**past(2, ENTRY), "article_id_fixed": [5, 6]}),
    ("lists of unequal length", {**past(2, ENTRY, ENTRY), "scroll_percentage_fixed": [50.0]}),
    (
        "an entry without an article, or with one that is no whole number",
        past(2, ENTRY, (EARLIER, None, 1.0, 1.0)),  # type: ignore[arg-type]
    ),
    ("an entry whose time is no time", past(2, (None, 5, 1.0, 1.0))),  # type: ignore[arg-type]
    ("a negative read time", past(2, (EARLIER, 5, -1.0, 1.0))),
    ("a scroll percentage that is not between 0 and 100", past(2, (EARLIER, 5, 1.0, 100.5))),
]


def test_every_bad_row_of_a_history_has_its_reason(spark: SparkSession, tmp_path: Path) -> None:
    file = written(
        tmp_path / "history.parquet", [past(1, ENTRY), *(row for _, row in BAD_HISTORIES), past(2)], "history"
    )
    assert problems(parsed(spark, "history", file)) == [None, *(reason for reason, _ in BAD_HISTORIES), None]


BAD_ARTICLES: Sequence[tuple[str, Row]] = [
    ("no article_id", article(1, article_id=None)),
    ("published_time is no time between 1900 and 2261", article(2, published_time="soon")),
    (
        "last_modified_time is no time between 1900 and 2261",
        article(2, last_modified_time="2023-02-30 10:00:00"),
    ),
    ("a NUL character", article(2, body="a\0b")),
    (
        "ner_clusters and entity_groups are lists of unequal length",
        article(2, ner_clusters=["A", "B"], entity_groups=["PER"]),
    ),
]


def test_every_bad_article_has_its_reason_and_what_is_unknown_has_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    def texts(row: Row) -> Row:
        return {
            **row,
            **{
                name: None if row[name] is None else str(row[name])
                for name in ("published_time", "last_modified_time")
            },
        }

    as_text = {"published_time": pa.string(), "last_modified_time": pa.string()}
    bare = article(
        3,
        title=None,
        category_str=None,
        published_time=None,
        last_modified_time=None,
        ner_clusters=None,
        entity_groups=None,
    )
    rows = [article(1), *(row for _, row in BAD_ARTICLES), bare]
    file = written(tmp_path / "some.parquet", [texts(row) for row in rows], "articles", types=as_text)
    found = parsed(spark, "articles", file)
    assert problems(found) == [None, *(reason for reason, _ in BAD_ARTICLES), None]
    news = {row.news_id: row for row in articles.articles(found.where("problem IS NULL")).collect()}
    assert (news["EB3"].title, news["EB3"].category, news["EB3"].published_at, news["EB3"].entities) == (
        "",
        "103",
        None,
        None,
    )
    assert (news["EB1"].published_at, news["EB1"].updated_at) == (
        article(1)["published_time"],
        article(1)["last_modified_time"],
    )


def test_the_test_set_has_no_labels_and_a_sample_that_nobody_saw(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        GOOD,
        *(
            {**GOOD, "impression_id": 0, "article_ids_inview": [n], "is_beyond_accuracy": True}
            for n in range(3)
        ),
    ]
    lacking = ("article_ids_clicked", "article_id", "next_read_time", "next_scroll_percentage")
    file = written(
        tmp_path / "behaviors.parquet",
        rows,
        "behaviors",
        without=lacking,
        types={"is_beyond_accuracy": pa.bool_()},
    )
    found = behaviors.with_history(parsed(spark, "behaviors", file, "test"), None)
    shown = impressions(found).collect()
    assert [(row.split, row.impression_id, row.news_id, row.clicked) for row in shown] == [
        ("test", "EB1", eb(n), None) for n in (5, 6, 7)
    ]
    assert [row.problem for row in found.collect()] == [None]
    assert reads.of_impressions(found).isEmpty()


def test_columns_may_have_the_types_that_tools_make_of_them(spark: SparkSession, tmp_path: Path) -> None:
    made = world(5, impressions=8)
    split = made.splits["train"]
    floats = {
        "article_id": pa.float64(),
        "user_id": pa.float64(),
        "impression_id": pa.int64(),
        "read_time": pa.int32(),
    }
    texts = {
        "article_ids_inview": pa.list_(pa.string()),
        "article_ids_clicked": pa.list_(pa.string()),
        "impression_time": pa.string(),
    }
    rows = [
        {
            **row,
            "article_ids_inview": list(map(str, row["article_ids_inview"])),
            "article_ids_clicked": list(map(str, row["article_ids_clicked"])),
            "impression_time": str(row["impression_time"]),
            "read_time": int(row["read_time"]),
        }
        for row in split.behaviors
    ]
    written(tmp_path / "behaviors.parquet", rows, "behaviors", types={**floats, **texts})
    in_utc = {
        "impression_time_fixed": pa.list_(pa.timestamp("ms", "UTC")),
        "user_id": pa.uint64(),
        "read_time_fixed": pa.list_(pa.float64()),
    }
    written(tmp_path / "history.parquet", split.history, "history", types=in_utc)
    users = history.histories(parsed(spark, "history", str(tmp_path / "history.parquet")))
    found = behaviors.with_history(parsed(spark, "behaviors", str(tmp_path / "behaviors.parquet")), users)
    alone = World([], {"train": split})
    shown = impressions(found).collect()
    told = {
        (r.split, r.impression_id, r.position, r.user_id, r.occurred_at, r.news_id, r.clicked) for r in shown
    }
    assert told == expected_impressions(alone)
    before = {
        (r.split, r.impression_id, r.user_id, r.occurred_at, tuple(r.news_ids))
        for r in click_history(found).collect()
    }
    assert before == expected_histories(alone)
    read = reads.one_of_each(reads.of_histories(users), reads.of_impressions(found)).collect()
    said = {
        (r.split, r.user_id, r.news_id, r.read_at, r.kind): (
            r.impression_id,
            r.read_seconds,
            r.scroll_percentage,
        )
        for r in read
    }
    assert said == expected_reads(alone)
    shortened = behaviors.with_history(found.drop("history"), users, 2)
    before = {
        (r.split, r.impression_id, r.user_id, r.occurred_at, tuple(r.news_ids))
        for r in click_history(shortened).collect()
    }
    assert before == expected_histories(alone, last=2)


def test_mistakes_are_told(spark: SparkSession, tmp_path: Path) -> None:
    def read(given: dict[str, list[str]]) -> None:
        sources = find_sources(
            spark,
            given.get("articles", []),
            {name: paths for name, paths in given.items() if name != "articles"},
        )
        read_files(spark, sources, behaviors.FIELDS)

    made = world(7, impressions=2)
    options = made.write(tmp_path / "small")
    rows = [{**row, "article_ids_inview": 5, "read_time": "long"} for row in made.splits["train"].behaviors]
    types = {"article_ids_inview": pa.int32(), "read_time": pa.string()}
    wrong = written(
        tmp_path / "wrong" / "behaviors.parquet",
        rows,
        "behaviors",
        without=("impression_time", "user_id"),
        types=types,
    )
    unlabelled = written(
        tmp_path / "b" / "behaviors.parquet", [GOOD], "behaviors", without=("article_ids_clicked",)
    )
    (tmp_path / "behaviors.parquet").write_bytes(b"no Parquet")
    (tmp_path / "train.zip").write_bytes(b"PK")
    told: Sequence[tuple[dict[str, list[str]], str]] = [
        ({"train": [str(tmp_path / "nowhere")]}, r"--train .*nowhere: there is no such file or folder"),
        (
            {"train": [str(tmp_path / "small")]},
            r"--train .*small: no Parquet files of EB-NeRD there.*did you mean .*small/train\?",
        ),
        ({"articles": options["train"]}, r"--articles .*train: no Parquet files.*articles\.parquet"),
        ({"train": options["train"] * 2}, r"--train .*behaviors\.parquet: is given twice"),
        ({"train": [str(tmp_path / "behaviors.parquet")]}, r"--train .*behaviors\.parquet: cannot be read"),
        ({"train": [str(tmp_path / "train.zip")]}, "unpack it"),
        (
            {"validation": [unlabelled]},
            "column article_ids_clicked is missing, which only files of test may lack",
        ),
        (
            {"train": [wrong]},
            (
                "not behaviors.parquet of EB-NeRD: column user_id is missing; column impression_time is"
                " missing; column article_ids_inview is int, wants lists of whole numbers; column read_time"
                " is string, wants numbers"
            ),
        ),
    ]
    for given, says in told:
        with pytest.raises(UserError, match=says):
            read(given)
