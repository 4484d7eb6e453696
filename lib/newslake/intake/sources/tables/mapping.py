"""A mapping file: what each column of a table is made of, checked as a whole before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.intake.sources.tables.kinds import hint, made_as
from newslake.intake.sources.tables.targets import Target
from newslake.lake.sqltext import quoted
from newslake.lake.tablespec import table_spec

RAW = "__raw"
_SHOWN = 30  # names of columns in a message


@dataclass(frozen=True)
class Mapped:
    """Rows of the source as the table's columns.

    Attributes:
        rows: a column for each that the mapping names, RAW (the row of the source as JSON), and `lost`: which
            columns hold values that the table's types cannot, joined by commas; NULL where none does.
        named: the columns that the mapping names.
    """

    rows: DataFrame
    named: tuple[str, ...]


def read_mapping(path: str) -> dict[str, str]:
    """Read a mapping file: YAML, `column of the table: column of the source, or an SQL expression`.

    Raises:
        UserError: there is no such file, or it is not of this form.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--mapping {path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--mapping {path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"--mapping {path}: give a line `column of the table: column or SQL expression` for each column"
        )
    if wrong := [
        str(name) for name, value in content.items() if value is None or isinstance(value, dict | list)
    ]:
        raise UserError(
            f"--mapping {path}: {', '.join(wrong)}: give a column of the source or an SQL expression, as one"
            " text"
        )
    return {str(name): _text(value) for name, value in content.items()}


def mapped(source: DataFrame, mapping: Mapping[str, str], target: Target, path: str) -> Mapped:
    """Make the table's columns of the source's.

    Args:
        source: the rows.
        mapping: what read_mapping gives.
        target: the table.
        path: the mapping's file, for the message.

    Raises:
        UserError: all that is wrong: columns that the table or the source lacks, expressions that Spark
            cannot parse, types that do not fit, columns that must be there and are not.
    """
    contract = table_spec(target.table).schema()
    problems = [_unknown(name, target) for name in mapping if name not in target.named()]
    problems += [
        f"{name} is not mapped: {contract[name].metadata.get('comment', 'every row needs it')}"
        for name in target.required()
        if name not in mapping
    ]
    made: dict[str, Column] = {}
    lost: list[Column] = []
    for name in (name for name in target.named() if name in mapping):
        text, wanted = mapping[name], contract[name].dataType
        value = _value(source, text)
        try:
            given = source.select(value.alias(name)).schema[0].dataType
        except PySparkException as error:
            problems.append(f"{name}: {_explained(error, text, source)}")
            continue
        column = made_as(value, given, wanted)
        if column is None:
            problems.append(
                f"{name}: {text} is {given.simpleString()}, wants"
                f" {wanted.simpleString()}{hint(given, wanted, text)}"
            )
            continue
        made[name] = column
        lost.append(F.when(value.isNotNull() & column.isNull(), name))
    if problems:
        raise UserError(f"--mapping {path}: {'; '.join(problems)}")
    raw = F.to_json(F.struct(*(F.col(quoted(name)) for name in source.columns))).alias(RAW)
    try:
        rows = source.select(
            *(column.alias(name) for name, column in made.items()), F.concat_ws(",", *lost).alias("lost"), raw
        )
    except PySparkException as error:
        raise UserError(
            f"--mapping {path}: the expressions do not go together: {first_sentence(error)}"
        ) from None
    return Mapped(rows.withColumn("lost", F.nullif("lost", F.lit(""))), tuple(made))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(source: DataFrame, text: str) -> Column:
    """A column of the source, whatever its name holds, or else an expression."""
    return F.col(quoted(text)) if text in source.columns else F.expr(text)


def _unknown(name: str, target: Target) -> str:
    if name in target.computed:
        return f"{name} is worked out by the job: leave it out"
    near = get_close_matches(name, target.named(), n=1)
    meant = f"did you mean {near[0]}?" if near else f"it has {', '.join(target.named())}"
    return f"{name}: table {target.table} has no such column ({meant})"


def _explained(error: PySparkException, text: str, source: DataFrame) -> str:
    condition = error.getCondition() or ""
    if condition.startswith("UNRESOLVED_COLUMN"):
        lacking = (error.getMessageParameters() or {}).get("objectName", text)
        more = ", ..." if len(source.columns) > _SHOWN else ""
        return f"the source has no column {lacking} (it has {', '.join(source.columns[:_SHOWN])}{more})"
    if isinstance(error, ParseException | AnalysisException):
        return f"{text} is no SQL expression over the source: {first_sentence(error)}"
    return first_sentence(error)


def first_sentence(error: PySparkException) -> str:
    """Spark's sentence, without its code before and what it shows of the query behind."""
    line = (str(error).strip().splitlines() or [""])[0]
    if line.startswith("[") and "] " in line:
        line = line.split("] ", 1)[1]
    return line.split(" SQLSTATE")[0].rstrip(". ")
