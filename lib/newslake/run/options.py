"""Values of options that more than one room takes: a day, a moment, and which of several encoders or models
is meant."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from inspect import cleandoc
from typing import TypeVar, dataclass_transform

from cyclopts import Parameter
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def option_group(group: type[T]) -> type[T]:
    """A class of options that several jobs take: a frozen dataclass, whose fields stand on a command line as
    a job's own options do.

    The docstring's Attributes are their help texts; a line that goes on is joined, since a terminal's width
    wraps them.
    """
    group.__doc__ = re.sub(r"\n {5,}", " ", cleandoc(group.__doc__ or ""))
    return Parameter(name="*")(dataclass(frozen=True)(group))


def flag(field: str) -> str:
    """How a field of an option group is called on a command line, for messages."""
    return f"--{field.replace('_', '-')}"


def day_of(text: str, option: str = "--as-of") -> date:
    """A day such as 2019-11-15.

    Raises:
        UserError: it is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"{option} takes a day such as 2019-11-15, not {text!r}") from None


def today_or(text: str | None, option: str = "--as-of") -> date:
    """A day such as 2019-11-15; None: today, UTC.

    Raises:
        UserError: it is not a day.
    """
    return datetime.now(UTC).date() if text is None else day_of(text, option)


def utc_now() -> datetime:
    """The present moment, UTC, as Spark gives timestamps of a session in UTC: without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def utc_moment(text: str) -> datetime:
    """A moment in ISO 8601, as Spark gives timestamps of a session in UTC: without a zone; text without one
    is UTC.

    Raises:
        ValueError: it is not a moment.
    """
    given = datetime.fromisoformat(text)
    return given if given.tzinfo is None else given.astimezone(UTC).replace(tzinfo=None)


def whole_hour(time: datetime) -> datetime:
    """The start of the hour that a time lies in."""
    return time.replace(minute=0, second=0, microsecond=0)


def the_one(
    rows: DataFrame, column: str, asked: str | None, *, table: str, built_by: str, things: str = "rows"
) -> str:
    """The value of a column that was asked for, or the only one that there is: what two encoders or models
    made does not mix.

    Args:
        rows: rows of `table`; few distinct values.
        column: such as encoder_id, whose option is --encoder-id.
        asked: what the option says, if it was given.
        table: for the message.
        built_by: the job that builds the table.
        things: what the rows are, such as "vectors" or "rows for this day".

    Raises:
        UserError: there is none, several, or not the one asked for; says which there are.
    """
    found = sorted(str(row[0]) for row in rows.select(column).distinct().collect())
    if not found:
        raise UserError(f"{table} has no {things}: run {built_by} first")
    if asked is None and len(found) > 1:
        raise UserError(
            f"{table} has {things} of several {column}s, which do not mix: choose with {flag(column)}"
            f" {' or '.join(found)}"
        )
    if asked is not None and asked not in found:
        raise UserError(f"{flag(column)} {asked}: {table} has no such {things}; it has {', '.join(found)}")
    return asked or found[0]


def those_asked_for(rows: DataFrame, **asked: str | None) -> DataFrame:
    """The rows of what options ask for: before the latest day is looked for, as another encoder's or model's
    may be later.

    Args:
        rows: of a table.
        asked: column names, and what the option says, None where it was not given.

    Returns:
        All rows where there is none of those asked for: `the_one` says so then, and which there are.
    """
    wanted = rows
    for column, value in asked.items():
        if value is not None:
            wanted = wanted.where(F.col(column) == value)
    return rows if wanted is rows or wanted.isEmpty() else wanted
