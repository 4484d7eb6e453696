"""Which types of a source become which of a table: those that lose nothing, and whole numbers as text, which
ids are."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T


def made_as(value: Column, given: T.DataType, wanted: T.DataType) -> Column | None:
    """The value as the table wants it; None where no value of the given type can be one.

    A number that is too large for the table's becomes NULL.
    """
    if isinstance(given, T.NullType):
        return value.cast(wanted)
    if (
        isinstance(wanted, T.ArrayType)
        and isinstance(given, T.ArrayType)
        and not isinstance(wanted.elementType, T.StructType)
    ):
        inner, outer = given.elementType, wanted.elementType
        if made_as(F.lit(None), inner, outer) is None:
            return None
        return value if inner == outer else F.transform(value, lambda one: _element(one, inner, outer))
    if given.simpleString() == wanted.simpleString():
        return value
    if isinstance(wanted, T.StringType):
        whole = isinstance(given, T.IntegralType) or (isinstance(given, T.DecimalType) and given.scale == 0)
        return value.cast("string") if whole or isinstance(given, T.CharType | T.VarcharType) else None
    if isinstance(wanted, T.TimestampType):
        return value.cast("timestamp") if isinstance(given, T.TimestampNTZType | T.DateType) else None
    if isinstance(wanted, T.IntegralType):
        return value.try_cast(wanted) if isinstance(given, T.IntegralType) else None
    if isinstance(wanted, T.DoubleType):
        return value.cast(wanted) if isinstance(given, T.NumericType) else None
    return None


def hint(given: T.DataType, wanted: T.DataType, text: str) -> str:
    """What to write instead, where that is known."""
    if isinstance(wanted, T.TimestampType) and isinstance(given, T.StringType):
        return f": write try_to_timestamp({text})"
    if isinstance(wanted, T.TimestampType) and isinstance(given, T.IntegralType):
        return f": write timestamp_seconds({text}), or timestamp_millis"
    if isinstance(wanted, T.BooleanType) and isinstance(given, T.NumericType):
        return f": write {text} > 0"
    if isinstance(wanted, T.ArrayType) and isinstance(given, T.StringType):
        return f": write split({text}, ' ')"
    if isinstance(wanted, T.StringType):
        return f": write string({text})"
    if isinstance(wanted, T.NumericType) and isinstance(given, T.StringType | T.NumericType):
        return f": write try_cast({text} AS {wanted.simpleString()})"
    return ""


def _element(one: Column, given: T.DataType, wanted: T.DataType) -> Column:
    made = made_as(one, given, wanted)
    assert made is not None
    return made
