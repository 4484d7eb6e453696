"""Names, values and comparisons as SQL text, whatever the names and values hold."""

from pyspark.sql import types as T


def differs(column: T.StructField) -> str:
    """Whether a column of the alias old and that of the alias new differ, NULL being a value like any
    other."""
    old, new = f"old.{quoted(column.name)}", f"new.{quoted(column.name)}"
    if isinstance(column.dataType, T.MapType):  # Spark cannot compare maps
        old, new = f"to_json({old})", f"to_json({new})"
    return f"NOT ({old} <=> {new})"


def quoted(name: str) -> str:
    """A name as SQL takes it whatever it holds."""
    return "`" + name.replace("`", "``") + "`"


def literal(value: str) -> str:
    """A string as an SQL literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
