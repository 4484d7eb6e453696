"""What was written to a table between two bookmarks, whatever rewrote its files meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame

from newslake.lake.bookmarks import NOTHING, VersionsGone, is_earlier, versions_needed
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_spec
from newslake.spark.frames import frame_of

TABLE = "search_queries"


def queries(lake: Lakehouse, **typed: str) -> DataFrame:
    """Rows of search_queries: query_id -> what was typed."""
    values = [
        (query_id, "U1", query, "2019-11-14 12:00:00", "2019-11-14 12:00:00")
        for query_id, query in typed.items()
    ]
    text = frame_of(
        lake.spark,
        values,
        "query_id string, user_id string, query string, searched_at string, ingested_at string",
    )
    return text.select(
        "query_id", "user_id", "query", text.searched_at.cast("timestamp"), text.ingested_at.cast("timestamp")
    ).toDF(*lake.schema(TABLE).names)


def changes(lake: Lakehouse, since: str, until: str) -> dict[str, tuple[Any, Any]]:
    """query_id -> what was typed before and after."""
    rows = lake.changes(TABLE, since, until).select("query_id", "before.query", "after.query").collect()
    return {row[0]: (row[1], row[2]) for row in rows}


def test_changes_are_the_differences_of_two_versions(lake: Lakehouse) -> None:
    assert lake.bookmark(TABLE) == NOTHING
    lake.merge(TABLE, queries(lake, A="a", B="b", C="c"))
    first = lake.bookmark(TABLE)
    lake.merge(TABLE, queries(lake, B="b2", D="d"))  # one is updated, one inserted
    lake.delete(TABLE, "query_id = 'C'")
    lake.merge(TABLE, queries(lake, B="b3", E="e"))
    lake.delete(TABLE, "query_id = 'E'")
    second = lake.bookmark(TABLE)
    lake.merge(TABLE, queries(lake, F="f"))
    expected = {"B": ("b", "b3"), "C": ("c", None), "D": (None, "d"), "E": (None, None)}
    assert changes(lake, first, second) == expected, "A was not written, F came later"
    assert {row["query_id"] for row in lake.read_at(TABLE, first).collect()} == {"A", "B", "C"}
    assert lake.read_at(TABLE, NOTHING).isEmpty()
    assert changes(lake, second, second) == {}
    assert changes(lake, second, first) == {}
    assert (is_earlier(first, second), is_earlier(second, first), is_earlier(first, first)) == (
        True,
        False,
        False,
    )
    assert (is_earlier(NOTHING, first), is_earlier(first, NOTHING), is_earlier(NOTHING, NOTHING)) == (
        True,
        False,
        False,
    )


def test_rewritten_files_and_replaced_slices_are_no_new_rows(lake: Lakehouse) -> None:
    lake.merge(TABLE, queries(lake, A="a"))
    lake.merge(TABLE, queries(lake, B="b"))
    first = lake.bookmark(TABLE)
    lake.spark.sql(f"OPTIMIZE {lake.sql_name(TABLE)}")
    assert changes(lake, first, lake.bookmark(TABLE)) == {}
    lake.replace(TABLE, queries(lake, A="a", B="b", C="c"), where={"user_id": "U1"})
    assert changes(lake, first, lake.bookmark(TABLE)) == {"A": ("a", "a"), "B": ("b", "b"), "C": (None, "c")}


def test_rows_that_are_only_added_are_not_written_twice(lake: Lakehouse) -> None:
    """What the change feed costs where a table only grows: nothing."""
    for table in ("search_queries", "impressions", "click_history", "user_interests"):
        assert table_spec(table).has_change_feed
    lake.replace(TABLE, queries(lake, A="a"), where={"user_id": "U1"})
    lake.merge(TABLE, queries(lake, B="b"), update=False)
    paths = [path.parent.name for path in _parquet(lake)]
    assert paths == [TABLE] * 2


def test_versions_that_are_gone_are_told_from_other_errors(lake: Lakehouse) -> None:
    lake.merge(TABLE, queries(lake, A="a"))
    first = lake.bookmark(TABLE)
    lake.merge(TABLE, queries(lake, A="a2", B="b"))
    second = lake.bookmark(TABLE)
    for path in _parquet(lake):  # as vacuum does, days later
        if path.parent.name == "_change_data":
            path.unlink()
    with pytest.raises(VersionsGone), versions_needed():
        lake.changes(TABLE, first, second).count()
    assert not lake.read(TABLE).isEmpty()
    version, table_id = second.split("@")
    for other in (f"{int(version) + 7}@{table_id}", f"{version}@another-table", NOTHING):
        with pytest.raises(VersionsGone), versions_needed():
            lake.changes(TABLE, first, other).count()
    with pytest.raises(VersionsGone), versions_needed():
        lake.read_at(TABLE, f"{int(version) + 7}@{table_id}").count()
    with pytest.raises(ValueError, match="no such thing"), versions_needed():
        raise ValueError("no such thing")


def test_a_table_of_an_older_version_gets_a_change_feed_from_now_on(lake: Lakehouse) -> None:
    lake.create(TABLE)
    lake.spark.sql(
        f"ALTER TABLE {lake.sql_name(TABLE)} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'false')"
    )
    old = Lakehouse(lake.spark, lake.root)
    before = lake.bookmark(TABLE)
    lake.merge(TABLE, queries(lake, A="a"))
    first = old.bookmark(TABLE)  # the first time that this one asks for the table
    old.merge(TABLE, queries(old, B="b"))
    assert changes(old, first, old.bookmark(TABLE)) == {"B": (None, "b")}
    with pytest.raises(VersionsGone), versions_needed():
        old.changes(TABLE, before, first).count()


def _parquet(lake: Lakehouse) -> list[Path]:
    return sorted(Path(str(lake.root)).rglob("*.parquet"))
