"""Tables made by another version of newslake: columns that came later are added, everything else is told in
one line."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.errors import UserError
from newslake.lake.sqltext import literal, quoted
from newslake.lake.tablespec import TableSpec


def missing_columns(spec: TableSpec, actual: T.StructType, where: str) -> list[T.StructField]:
    """Columns of the contract that an older table lacks and that can be added, as rows without them mean
    NULL.

    Args:
        spec: the table's contract.
        actual: the columns that the table has.
        where: the lakehouse, for the message.

    Raises:
        UserError: the table differs in more than such columns; lists every difference.
    """
    contract = spec.schema()
    there = {field.name: field.dataType for field in actual}
    missing = [field for field in contract if field.name not in there]
    problems = [
        f"column {field.name} is missing, which no row can be without"
        for field in missing
        if not field.nullable
    ]
    problems += [
        f"column {field.name} is {there[field.name].simpleString()}, wants {field.dataType.simpleString()}"
        for field in contract
        if field.name in there and there[field.name].simpleString() != field.dataType.simpleString()
    ]
    if problems:
        raise UserError(
            f"table {spec.name} in {where} was made by another version of newslake, whose rows this one"
            f" cannot take over: {'; '.join(problems)}. Move the table away and build it anew (by:"
            f" {spec.written_by}), or use that version"
        )
    return missing


def refuse_unknown_columns(spec: TableSpec, actual: T.StructType, where: str) -> None:
    """Refuse to write to a table with columns that the contract lacks: rows would lose what a newer version
    keeps there.

    Raises:
        UserError: there are such columns; names them.
    """
    known = set(spec.schema().names)
    if unknown := [name for name in actual.names if name not in known]:
        raise UserError(
            f"table {spec.name} in {where} has columns that this version of newslake does not know:"
            f" {', '.join(unknown)}. Run the newer version that added them, or keep columns of your own in a"
            " table beside it"
        )


def with_missing(rows: DataFrame, missing: Sequence[T.StructField]) -> DataFrame:
    """The rows of an older table with the columns that it lacks, all NULL."""
    return (
        rows.select("*", *(F.lit(None).cast(field.dataType).alias(field.name) for field in missing))
        if missing
        else rows
    )


def add_columns(identifier: str, missing: Sequence[T.StructField]) -> str:
    """The SQL statement that adds columns to a table."""
    columns = ", ".join(
        f"{quoted(field.name)} {field.dataType.simpleString()} COMMENT"
        f" {literal(field.metadata.get('comment', ''))}"
        for field in missing
    )
    return f"ALTER TABLE {identifier} ADD COLUMNS ({columns})"
