"""The contracts of the tables, read from schemas/<table>.sql."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import cast

from pyspark.sql import types as T

from newslake.errors import SchemaMismatch

_COLUMNS = re.compile(r"\{table\} \(\n(?P<columns>.*?)\n\)\nUSING DELTA", re.DOTALL)
_PARTITIONS = re.compile(r"PARTITIONED BY \((?P<names>[^)]*)\)")
_CHANGE_FEED = re.compile(r"'delta\.enableChangeDataFeed' = 'true'")
_CONSTRAINT = re.compile(r"""'delta\.constraints\.\w+' = (?P<quote>['"])(?P<rule>.*?)(?P=quote)""")
_PROPERTY = re.compile(r"'newslake\.(?P<name>\w+)' = '(?P<value>[^']*)'")


@dataclass(frozen=True)
class TableSpec:
    """The contract of one table, as its .sql file states it."""

    name: str
    ddl: str  # with {table} where the identifier belongs
    columns: str  # the column list, in DDL
    key: tuple[str, ...]
    partitions: tuple[str, ...]
    written_by: str
    has_change_feed: bool = False  # whether Delta keeps what each commit changed, for Lakehouse.changes
    # The CHECK constraints: conditions in SQL that hold of every row; where one is NULL, Delta refuses it
    # too.
    rules: tuple[str, ...] = ()

    def schema(self) -> T.StructType:
        """The columns with types, comments and NOT NULL. Needs a running Spark session, whose parser reads
        the DDL."""
        return cast(T.StructType, T.StructType.fromDDL(self.columns))


@cache
def table_names() -> tuple[str, ...]:
    """Every table that has a contract, sorted."""
    files = resources.files("newslake.schemas").iterdir()
    return tuple(sorted(file.name.removesuffix(".sql") for file in files if file.name.endswith(".sql")))


@cache
def table_spec(table: str) -> TableSpec:
    """Read the contract of `table`.

    Raises:
        ValueError: there is no schemas/<table>.sql, or it has not the form that the others have.
    """
    if table not in table_names():
        raise ValueError(f"no contract for table {table!r}: add schemas/{table}.sql")
    ddl = (resources.files("newslake.schemas") / f"{table}.sql").read_text(encoding="utf-8")
    columns = _COLUMNS.search(ddl)
    properties = {match["name"]: match["value"] for match in _PROPERTY.finditer(ddl)}
    if columns is None or not {"key", "written_by"} <= properties.keys():
        raise ValueError(
            f"schemas/{table}.sql: wants '{{table}} (' columns ')' USING DELTA, newslake.key and"
            " newslake.written_by"
        )
    partitions = _PARTITIONS.search(ddl)
    return TableSpec(
        name=table,
        ddl=ddl,
        columns=columns["columns"],
        key=_names(properties["key"]),
        partitions=_names(partitions["names"]) if partitions else (),
        written_by=properties["written_by"],
        has_change_feed=_CHANGE_FEED.search(ddl) is not None,
        rules=tuple(match["rule"] for match in _CONSTRAINT.finditer(ddl)),
    )


def check_schema(table: str, contract: T.StructType, actual: T.StructType) -> None:
    """Refuse a frame whose columns are not exactly the contract's, in any order; nullability is Delta's to
    enforce.

    Raises:
        SchemaMismatch: lists every missing, unknown and differently typed column at once.
    """
    wanted = {field.name: field.dataType for field in contract}
    given = {field.name: field.dataType for field in actual}
    problems = [f"column {name} is missing" for name in wanted if name not in given]
    problems += [f"column {name} is not in schemas/{table}.sql" for name in given if name not in wanted]
    problems += [
        f"column {name} is {given[name].simpleString()}, wants {kind.simpleString()}"
        for name, kind in wanted.items()
        if name in given and _loose(given[name]) != _loose(kind)
    ]
    repeated = sorted({name for name in actual.names if actual.names.count(name) > 1})
    problems += [f"column {name} is there more than once" for name in repeated]
    if problems:
        raise SchemaMismatch(f"table {table}: " + "; ".join(problems))


def _loose(kind: T.DataType) -> str:
    # simpleString leaves out the nullability inside arrays, maps and structs, which Spark computes as it
    # likes.
    return kind.simpleString()


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
