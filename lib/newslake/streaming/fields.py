"""JSON messages -> typed columns. What is not as the documented schema says gets a reason, and is never guessed at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.mind.lines import once

ARRIVAL = ("source", "place", "raw", "arrived_at")
Kind = Literal["string", "time", "number", "strings", "objects"]
_AHEAD = "1 day"
"""How far a time may lie ahead of the clock: a time in the far future would win over every later version, and never be purged."""
_FIRST = "1900-01-01"
_ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?$"
_AS_IN = "2019-11-09T06:03:52Z"
_WHAT: dict[Kind, str] = {
    "string": "a string",
    "time": "a string",
    "number": "a number",
    "strings": "an array of strings",
    "objects": "an array of objects with members of the documented types",
}


@dataclass(frozen=True)
class Field:
    """One member of a message's object.

    Attributes:
        name: the member's, and the column's.
        kind: its JSON type; `time` is ISO 8601 in a string, UTC where it names no zone; `objects` an array of objects.
        required: the member must be there and not null; a string or array not empty, unless `may_be_empty`.
        may_be_empty: an empty string will do.
        ddl: of `objects`: the column's type.
        members: of `objects`: the JSON type of each member, `integers` among them; each may be left out.
    """

    name: str
    kind: Kind = "string"
    required: bool = False
    may_be_empty: bool = False
    ddl: str = ""
    members: tuple[tuple[str, str], ...] = ()

    def column_type(self) -> str:
        """The type of the column before times are read."""
        return {"string": "string", "time": "string", "number": "double", "strings": "array<string>", "objects": self.ddl}[self.kind]


def parsed(messages: DataFrame, fields: Sequence[Field]) -> DataFrame:
    """Read the members of each message.

    Args:
        messages: columns of ARRIVAL, a stream or not.
        fields: the members; others that a message has are left alone.

    Returns:
        ARRIVAL, a column for each field (string, timestamp, double, array<string> or its own type), and problem: why the message
        cannot be used, or NULL.
    """
    value = F.col("raw").cast("string")
    # Spark ends at the first value and would not see what follows it, so the text is put inside an object, whose end it then has to
    # leave alone. Two members of one name make it NULL too: which of them counts nobody knows.
    wrapped = F.concat(F.lit('{"m":'), value, F.lit(',"end":0}'))
    whole = F.json_object_keys(wrapped).eqNullSafe(F.array(F.lit("m"), F.lit("end")))
    rows = once(messages.select(*ARRIVAL), "json", F.when(F.is_valid_utf8(value) & whole, F.try_parse_json(wrapped)))
    members = [F.try_variant_get("json", f"$.m.{field.name}", field.column_type()).alias(field.name) for field in fields]
    kinds = [F.schema_of_variant(F.try_variant_get("json", f"$.m.{field.name}", "variant")).alias(_kind(field)) for field in fields]
    # A cast makes NULL of a member of the wrong type: what it was is asked of the members themselves.
    kinds += [
        F.exists(F.try_variant_get("json", f"$.m.{field.name}", "array<variant>"), partial(_is_wrong_object, field)).alias(_wrong(field))
        for field in fields
        if field.kind == "objects"
    ]
    shape = F.schema_of_variant(F.try_variant_get("json", "$.m", "variant"))
    rows = rows.select(*ARRIVAL, shape.alias("__shape"), *members, *kinds)
    rows = once(rows, "__problem", _of_shape()).withColumn("__problem", F.coalesce("__problem", *(_of_type(field) for field in fields)))
    times = [field for field in fields if field.kind == "time"]
    rows = rows.withColumns({field.name: _as_time(F.col(field.name)) for field in times}) if times else rows
    problem = F.coalesce("__problem", *(_of_value(field) for field in fields))
    return rows.select(*ARRIVAL, *(field.name for field in fields), problem.alias("problem"))


def also(rows: DataFrame, *problems: Column) -> DataFrame:
    """Further reasons, for messages that have none yet; each is NULL where all is well."""
    return rows.withColumn("problem", F.coalesce("problem", *problems))


def as_rejected(rows: DataFrame, record_id: Column, reason: Column | None = None) -> DataFrame:
    """Messages as quarantine.rejected takes them."""
    return rows.select(
        "source",
        F.col("place").alias("line_number"),
        record_id.alias("record_id"),
        "raw",
        (F.col("problem") if reason is None else reason).alias("reason"),
        F.col("arrived_at").alias("ingested_at"),
    )


def _kind(field: Field) -> str:
    return f"__kind_{field.name}"


def _wrong(field: Field) -> str:
    return f"__wrong_{field.name}"


def _is_wrong_object(field: Field, item: Column) -> Column:
    """Whether an element is no object, or a member of it has another type than it should."""
    wrong = ~F.coalesce(F.schema_of_variant(item).startswith("OBJECT<"), F.lit(False))
    for name, kind in field.members:
        found = F.schema_of_variant(F.try_variant_get(item, f"$.{name}", "variant"))
        wrong = wrong | F.coalesce((found != "VOID") & ~_is_kind(found, kind), F.lit(False))
    return wrong


def _is_kind(found: Column, kind: str) -> Column:
    """Whether Spark's name of a JSON value's type is one of those that a kind takes."""
    return found.rlike(
        {
            "string": "^STRING$",
            "time": "^STRING$",
            "number": "^(BIGINT|DECIMAL.*|DOUBLE|FLOAT)$",
            "strings": "^ARRAY<(STRING|VOID)>$",
            "integers": "^ARRAY<(BIGINT|VOID)>$",
            "objects": "^ARRAY<",
        }[kind]
    )


def _of_shape() -> Column:
    return (
        F.when(F.coalesce(F.length("raw"), F.lit(0)) == 0, "an empty message")
        .when(~F.is_valid_utf8(F.col("raw").cast("string")), "invalid UTF-8")
        .when(F.col("__shape").isNull(), "not JSON, or two members of one name")
        .when(~F.col("__shape").startswith("OBJECT<"), "not a JSON object")
    )


def _of_type(field: Field) -> Column:
    kind, value = F.col(_kind(field)), F.col(field.name)
    given = kind.isNotNull() & (kind != "VOID")
    right = _is_kind(kind, field.kind)
    if field.kind == "strings":
        right = right & ~F.exists(value, lambda one: one.isNull())
    if field.kind == "objects":
        right = right & value.isNotNull() & ~F.coalesce(_wrong(field), F.lit(False))
    reasons = F.when(given & ~F.coalesce(right, F.lit(False)), f"{field.name} is not {_WHAT[field.kind]}")
    if field.kind == "string":
        reasons = reasons.when(value.contains("\0"), f"{field.name} holds a NUL character")
    if field.kind == "strings":
        reasons = reasons.when(
            F.exists(value, lambda one: (one == "") | one.contains("\0")), f"{field.name} holds an empty string or a NUL"
        )
    if field.kind == "time":
        reasons = reasons.when(value.isNotNull() & _as_time(value).isNull(), f"{field.name} is no time such as {_AS_IN}")
    if field.required:
        empty = {"string": value == "", "strings": F.size(value) == 0}.get(field.kind)
        missing = value.isNull() if empty is None or field.may_be_empty else value.isNull() | empty
        reasons = reasons.when(missing, f"no {field.name}")
    return reasons


def _of_value(field: Field) -> Column:
    value = F.col(field.name)
    if field.kind != "time":
        return F.lit(None).cast("string")
    # In a stream this is the clock of the batch as it was planned, so that a batch that is done again decides the same.
    ahead = value > F.current_timestamp() + F.expr(f"INTERVAL {_AHEAD}")
    return F.when(ahead, f"{field.name} lies more than {_AHEAD} ahead").when(
        value < F.lit(_FIRST).cast("timestamp"), f"{field.name} is before 1900"
    )


def _as_time(text: Column) -> Column:
    return F.when(text.rlike(_ISO), F.try_to_timestamp(text))
