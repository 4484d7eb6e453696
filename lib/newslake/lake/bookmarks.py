"""Where a table stood at one moment, and what was written to it between two moments: for jobs that count
every row exactly once."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.error_texts import VERSION_GONE

NOTHING = ""
"""The bookmark of a table that was not there yet."""
CHANGE_FEED = "delta.enableChangeDataFeed"
_FORM = re.compile(r"(?P<version>\d+)@(?P<table_id>\S+)")


class VersionsGone(Exception):
    """A version of a table that a bookmark names cannot be read any more: vacuumed, or the table is another
    one now."""


def bookmark_of(version: int, table_id: str) -> str:
    """A version of a table as text."""
    return f"{version}@{table_id}"


def version_in(bookmark: str, table_id: str) -> int:
    """The version that a bookmark names.

    Raises:
        VersionsGone: it is a bookmark of a table that was there before.
    """
    found = _FORM.fullmatch(bookmark)
    if found is None or found["table_id"] != table_id:
        raise VersionsGone("the table is another one now")
    return int(found["version"])


def is_earlier(one: str, other: str) -> bool:
    """Whether a bookmark lies before another one of the same table; those of two tables in the same place
    have no order, so it is true."""
    if one == NOTHING or other == NOTHING:
        return one == NOTHING and other != NOTHING
    first, second = _FORM.fullmatch(one), _FORM.fullmatch(other)
    if first is None or second is None or first["table_id"] != second["table_id"]:
        return True
    return int(first["version"]) < int(second["version"])


@contextmanager
def versions_needed() -> Iterator[None]:
    """Read what bookmarks name.

    Raises:
        VersionsGone: a version is gone, in place of what Spark says then.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        if found := VERSION_GONE.search(str(error)):
            raise VersionsGone(found[0]) from error
        raise


def net_changes(feed: DataFrame, key: Sequence[str], columns: Sequence[str]) -> DataFrame:
    """One row for each key that was written: its columns, `before` and `after`: the row as it was and as it
    is, NULL where there is none.

    Args:
        feed: rows as the change feed gives them, with _change_type and _commit_version. A key may come many
            times, also in one commit.
        key: of the table.
        columns: of the table.
    """
    is_old = F.col("_change_type").isin("delete", "update_preimage")
    state = F.struct(is_old.alias("is_old"), F.struct(*columns).alias("row"))
    order = F.struct("_commit_version", (~is_old).alias("is_new"))
    ends = feed.groupBy(*key).agg(F.min_by(state, order).alias("first"), F.max_by(state, order).alias("last"))
    before = F.when(F.col("first.is_old"), F.col("first.row")).alias("before")
    after = F.when(~F.col("last.is_old"), F.col("last.row")).alias("after")
    return ends.select(*key, before, after)
