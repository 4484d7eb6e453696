"""Tables that another version of newslake made: what can be added is added, what cannot is told in one
line."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.pipeline.views import make_views
from newslake.run.jobrun import JobRun
from newslake.streaming.behaviors import stream_behaviors
from tests.calling import call
from tests.faults.common import import_texts, texts


def make(
    lake: Lakehouse, *, without: tuple[str, ...] = (), extra: str = "", changed: dict[str, str] | None = None
) -> None:
    """Create table news as another version would have: columns left out, added, or of another type."""
    changed = changed or {}
    columns = [
        f"{field.name}"
        f" {changed.get(field.name, field.dataType.simpleString())}{'' if field.nullable else ' NOT NULL'}"
        for field in table_spec("news").schema()
        if field.name not in without
    ]
    lake.spark.sql(
        f"CREATE TABLE delta.`{lake.root}/news` ({', '.join([*columns, *([extra] if extra else [])])}) USING"
        " DELTA"
    )


def test_an_older_table_reads_as_if_it_had_the_later_columns(lake: Lakehouse) -> None:
    make(lake, without=("url", "updated_at", "entities"))
    lake.spark.sql(
        f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash) VALUES ('N1', 'x', 'h')"
    )
    [row] = lake.read("news").collect()
    assert (row["news_id"], row["url"], row["updated_at"], row["entities"]) == ("N1", None, None, None)
    read = {field.name: field.dataType for field in lake.read("news").schema}
    assert read == {field.name: field.dataType for field in lake.schema("news")}


def test_a_job_adds_the_later_columns_and_keeps_the_rows(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(lake, without=("url", "updated_at", "entities"))
    lake.spark.sql(
        f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash) VALUES ('N1', 'x', 'h')"
    )
    assert import_texts(lake, texts(tmp_path / "texts.jsonl", 4), capsys) == (0, [])
    assert lake.read("news").count() == 5
    stored = {field.name: field for field in lake.spark.read.format("delta").load(f"{lake.root}/news").schema}
    for field in lake.schema("news"):
        assert stored[field.name].dataType == field.dataType
    assert stored["url"].metadata["comment"] == "Where the article is published"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"without": ("content_hash",)}, "column content_hash is missing, which no row can be without"),
        ({"changed": {"published_at": "string"}}, "column published_at is string, wants timestamp"),
    ],
)
def test_what_cannot_be_carried_over_is_one_line(
    table: dict[str, object], says: str, lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(lake, **table)  # type: ignore[arg-type]
    status, said = import_texts(lake, texts(tmp_path / "texts.jsonl", 4), capsys)
    assert status == 2
    [line] = said
    assert says in line
    assert "table news" in line
    assert "parse_behaviors" in line, "says who builds it"
    with pytest.raises(UserError, match="another version"):
        lake.read("news")


def test_a_newer_table_is_read_but_not_written(
    lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(lake, extra="sentiment double")
    lake.spark.sql(
        f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash, sentiment) VALUES ('N1', 'x',"
        " 'h', 0.5)"
    )
    assert lake.read("news").where(F.col("news_id") == "N1").count() == 1
    status, [line] = import_texts(lake, texts(tmp_path / "texts.jsonl", 4), capsys)
    assert status == 2
    assert "does not know: sentiment" in line
    assert lake.read("news").count() == 1


def test_impressions_of_before_feeds_were_told_go_on(lake: Lakehouse, tmp_path: Path) -> None:
    """A click on an impression of the older table, a newer impression, and the view that shows both kinds."""
    contract = table_spec("impressions").schema()
    older = [field for field in contract if field.name not in ("feed_hour", "rank", "model")]
    columns = ", ".join(
        f"{field.name} {field.dataType.simpleString()}{'' if field.nullable else ' NOT NULL'}"
        for field in older
    )
    name = lake.sql_name("impressions")
    lake.spark.sql(f"CREATE TABLE {name} ({columns}) USING DELTA PARTITIONED BY (split)")
    shown_at = "timestamp'2019-11-14 06:00:00'"
    lake.spark.sql(f"INSERT INTO {name} VALUES ('live', 'I1', 0, 'U1', {shown_at}, {shown_at}, 'N1', false)")
    same = {"user_id": "U1", "occurred_at": "2019-11-14T07:00:00Z"}
    feed = {"feed_hour": "2019-11-14T06:00:00Z", "rank": 4, "model": "formula"}
    again = {
        "type": "impression",
        "event_id": "I1",
        "user_id": "U1",
        "occurred_at": "2019-11-14T06:00:00Z",
        "news_ids": ["N1"],
    }
    events = [
        {**same, "type": "click", "event_id": "C1", "impression_id": "I1", "news_id": "N1"},
        {**same, **feed, "type": "impression", "event_id": "I2", "news_ids": ["N2", "N3"]},
        again,
    ]
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "1.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    run = JobRun("stream_behaviors")
    call(stream_behaviors, lake, run, files=str(folder), once=True)
    assert run.rows_rejected == 0, "the first says the same as the row of the older table"
    rows = {(row["impression_id"], row["position"]): row for row in lake.read("impressions").collect()}
    assert {place: (row["clicked"], row["rank"], row["model"]) for place, row in rows.items()} == {
        ("I1", 0): (True, None, None),
        ("I2", 0): (False, 4, "formula"),
        ("I2", 1): (False, 5, "formula"),
    }
    assert rows["I2", 1]["feed_hour"] == datetime(2019, 11, 14, 6)
    stored = {field.name: field for field in lake.spark.table(name).schema}
    assert stored["feed_hour"].metadata["comment"].startswith("Hour of the newsfeed")


def test_a_script_of_views_brings_older_tables_up_to_date(lake: Lakehouse, tmp_path: Path) -> None:
    lake.create("newsfeed")
    lake.spark.sql(
        f"CREATE TABLE {lake.sql_name('impressions')} (split string NOT NULL, impression_id string NOT NULL,"
        " position int NOT NULL, user_id string NOT NULL, occurred_at timestamp NOT NULL, ingested_at"
        " timestamp NOT NULL, news_id string NOT NULL, clicked boolean) USING DELTA"
    )
    make_views(lake, JobRun("make_views"), out=str(tmp_path / "views.sql"))
    fresh = lake.spark.newSession()
    for statement in (tmp_path / "views.sql").read_text().split(";\n")[:-1]:
        fresh.sql(statement)
    assert fresh.sql("SELECT count(*) FROM shown_feeds").collect() == [(0,)]
