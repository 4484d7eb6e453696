"""Tables that another version of newslake made: what can be added is added, what cannot is told in one line."""

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lakehouse import Lakehouse
from newslake.tablespec import table_spec
from tests.faults.common import import_texts, texts


def make(lake: Lakehouse, *, without: tuple[str, ...] = (), extra: str = "", changed: dict[str, str] | None = None) -> None:
    """Create table news as another version would have: columns left out, added, or of another type."""
    changed = changed or {}
    columns = [
        f"{field.name} {changed.get(field.name, field.dataType.simpleString())}{'' if field.nullable else ' NOT NULL'}"
        for field in table_spec("news").schema()
        if field.name not in without
    ]
    lake.spark.sql(f"CREATE TABLE delta.`{lake.root}/news` ({', '.join([*columns, *([extra] if extra else [])])}) USING DELTA")


def test_an_older_table_reads_as_if_it_had_the_later_columns(lake: Lakehouse) -> None:
    make(lake, without=("url", "updated_at", "entities"))
    lake.spark.sql(f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash) VALUES ('N1', 'x', 'h')")
    [row] = lake.read("news").collect()
    assert (row["news_id"], row["url"], row["updated_at"], row["entities"]) == ("N1", None, None, None)
    read = {field.name: field.dataType for field in lake.read("news").schema}
    assert read == {field.name: field.dataType for field in lake.schema("news")}


def test_a_job_adds_the_later_columns_and_keeps_the_rows(lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(lake, without=("url", "updated_at", "entities"))
    lake.spark.sql(f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash) VALUES ('N1', 'x', 'h')")
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


def test_a_newer_table_is_read_but_not_written(lake: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(lake, extra="sentiment double")
    lake.spark.sql(f"INSERT INTO delta.`{lake.root}/news` (news_id, title, content_hash, sentiment) VALUES ('N1', 'x', 'h', 0.5)")
    assert lake.read("news").where(F.col("news_id") == "N1").count() == 1
    status, [line] = import_texts(lake, texts(tmp_path / "texts.jsonl", 4), capsys)
    assert status == 2
    assert "does not know: sentiment" in line
    assert lake.read("news").count() == 1
