"""Columns of Parquet files as newslake's types: checked by their types before anything is read, by their
values row by row.

EB-NeRD's columns have come as int32 and uint32, as floats where a tool made room for NULLs, with times as
timestamps of either kind and as text. Of a value that is no id or no time NO_ID or NO_TIME is made, so that
it can be told from one that is not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

PREFIX = "EB"
"""What an id of newslake has before the number of EB-NeRD: MIND's impressions are plain numbers too, its
users and articles U1 and N1."""
NO_ID, NO_TIME = "", "0001-01-01"

Kind = Literal["id", "time", "number", "text", "flag"]
_MADE: dict[Kind, T.DataType] = {
    "id": T.StringType(),
    "time": T.TimestampType(),
    "number": T.DoubleType(),
    "text": T.StringType(),
    "flag": T.BooleanType(),
}
_TAKES: dict[Kind, tuple[type[T.DataType], ...]] = {
    "id": (T.IntegralType, T.FractionalType, T.StringType),
    "time": (T.TimestampType, T.TimestampNTZType, T.StringType),
    "number": (T.IntegralType, T.FractionalType),
    "text": (T.StringType,),
    "flag": (T.BooleanType,),
}
_WANTS: dict[Kind, str] = {
    "id": "whole numbers",
    "time": "times",
    "number": "numbers",
    "text": "text",
    "flag": "booleans",
}
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
_LONGEST_ID = 20  # digits: an id of 64 bits, without a sign


@dataclass(frozen=True)
class Field:
    """A column of a file.

    Attributes:
        name: in the file.
        kind: of its values.
        is_list: whether each value is a list of them.
        required: whether every file has the column.
        may_lack: the split whose files alone may lack the column; None: those of any may, unless it is
            required.
        made: the name of what is made of it.
    """

    name: str
    kind: Kind
    made: str
    is_list: bool = False
    required: bool = False
    may_lack: str | None = None


def wrong_columns(schema: T.StructType, fields: Sequence[Field], split: str) -> list[str]:
    """What is wrong with the columns of a file of a split; empty where it can be read."""
    found: list[str] = []
    for field in fields:
        if field.name not in schema.names:
            if field.required:
                found.append(f"column {field.name} is missing")
            elif field.may_lack not in (None, split):
                found.append(f"column {field.name} is missing, which only files of {field.may_lack} may lack")
        elif not _fits(schema[field.name].dataType, field):
            wants = f"lists of {_WANTS[field.kind]}" if field.is_list else _WANTS[field.kind]
            found.append(
                f"column {field.name} is {schema[field.name].dataType.simpleString()}, wants {wants}"
            )
    return found


def made_of(rows: DataFrame, field: Field) -> Column:
    """A column as newslake's type: string, timestamp, double or boolean, or arrays of it.

    An id is a whole number from 0 and becomes PREFIX and its digits. A number that is NaN is NULL. A list
    keeps its length.
    """
    made = _MADE[field.kind]
    if field.name not in rows.columns:
        return F.lit(None).cast(T.ArrayType(made) if field.is_list else made).alias(field.made)
    kind = rows.schema[field.name].dataType
    if isinstance(kind, T.ArrayType):
        element = kind.elementType
        return F.transform(field.name, lambda value: _value(value, element, field.kind)).alias(field.made)
    return _value(F.col(field.name), kind, field.kind).alias(field.made)


def _fits(kind: T.DataType, field: Field) -> bool:
    if field.is_list != isinstance(kind, T.ArrayType):
        return False
    element = kind.elementType if isinstance(kind, T.ArrayType) else kind
    return isinstance(element, _TAKES[field.kind])


def _value(value: Column, given: T.DataType, kind: Kind) -> Column:
    if kind == "id":
        return _id(value, given)
    if kind == "time":
        return _time(value) if isinstance(given, T.StringType) else value.cast("timestamp")
    if kind == "number":
        number = value.cast("double")
        return F.when(~F.isnan(number), number)
    return value


def _time(text: Column) -> Column:
    read = F.when(text.rlike(_TIME), F.try_to_timestamp(text))
    return F.when(text.isNotNull(), F.coalesce(read, F.lit(NO_TIME).cast("timestamp")))


def _id(value: Column, given: T.DataType) -> Column:
    if isinstance(given, T.IntegralType):
        digits = F.when(value >= 0, value.cast("string"))
    else:
        text = (
            F.when(value.rlike(rf"^\d{{1,{_LONGEST_ID}}}$"), value)
            if isinstance(given, T.StringType)
            else value
        )
        number = text.try_cast(f"decimal({_LONGEST_ID + 3},3)")
        whole = number.cast(f"decimal({_LONGEST_ID},0)")
        digits = F.when((number >= 0) & (number == whole), whole.cast("string"))
    return F.when(value.isNotNull(), F.coalesce(F.concat(F.lit(PREFIX), digits), F.lit(NO_ID)))
