"""JSON, an object a line or a message -> typed columns. What is not as the documented schema says gets a
reason, and is never guessed at.

Every reader of JSON goes through here: streams, labels, interests and queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.files.inputs import cleaned
from newslake.lake.sqltext import quoted
from newslake.spark.frames import once

Kind = Literal["string", "time", "number", "strings", "objects"]
_AHEAD = "1 day"
"""How far a time may lie ahead of the clock: a time in the far future would win over every later version, and
never be purged."""
_FIRST = "1900-01-01"
_ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?$"
_AS_IN = "2019-11-09T06:03:52Z"
# Strict, and without the limits on what nobody reads (a member of 1,000 digits, or nested 1,000 deep).
_HOW = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
_HOW |= {"maxNestingDepth": "1000000", "maxNumLen": "100000000", "maxStringLen": "2000000000"}
_DEEPEST, _DIGITS = 1000, 1000
"""What Spark's json_object_keys reads no further than, without a word of why."""
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
        kind: its JSON type; `time` is ISO 8601 in a string, UTC where it names no zone; `objects` an array of
            objects.
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
        return {
            "string": "string",
            "time": "string",
            "number": "double",
            "strings": "array<string>",
            "objects": self.ddl,
        }[self.kind]


def parsed(messages: DataFrame, fields: Sequence[Field]) -> DataFrame:
    """Read the members of each message.

    Args:
        messages: raw (binary), and any other columns; a stream or not.
        fields: the members; others that a message has are left alone, whatever they hold.

    Returns:
        The columns of `messages`, one for each field (string, timestamp, double, array<string> or its own
            type), and problem: why the
        message cannot be used, or NULL.
    """
    kept = [F.col(name) for name in messages.columns]
    rows = once(messages, "__text", cleaned(F.col("raw").cast("string")))
    rows = once(rows, "__names", _names(F.col("__text"), fields))
    rows = once(rows, "__json", _members(F.col("__text"), fields))
    # A cast makes NULL of a member of the wrong type: what it was is asked of the members themselves.
    members = [
        F.try_variant_get(_member(field), "$", field.column_type()).alias(field.name) for field in fields
    ]
    kinds = [F.schema_of_variant(_member(field)).alias(_kind(field)) for field in fields]
    kinds += [
        F.exists(
            F.try_variant_get(_member(field), "$", "array<variant>"), partial(_is_wrong_object, field)
        ).alias(_wrong(field))
        for field in fields
        if field.kind == "objects"
    ]
    rows = rows.select(
        *kept, "__text", "__names", F.col("__json").isNull().alias("__unread"), *members, *kinds
    )
    rows = once(rows, "__problem", _of_shape()).withColumn(
        "__problem", F.coalesce("__problem", *(_of_type(field) for field in fields))
    )
    times = [field for field in fields if field.kind == "time"]
    rows = rows.withColumns({field.name: _as_time(F.col(field.name)) for field in times}) if times else rows
    problem = F.coalesce("__problem", *(_of_value(field) for field in fields))
    return rows.select(*kept, *(field.name for field in fields), problem.alias("problem"))


def also(rows: DataFrame, *problems: Column) -> DataFrame:
    """Further reasons, for messages that have none yet; each is NULL where all is well."""
    return rows.withColumn("problem", F.coalesce("problem", *problems))


def _names(text: Column, fields: Sequence[Field]) -> Column:
    """The names of the members that are read, as often as they are there; NULL where the text is not one JSON
    value."""
    # Spark ends at the first value and would not see what follows it, so the text is put inside an object,
    # whose end it then has to leave alone.
    wrapped = F.concat(F.lit('{"m":'), text, F.lit(',"end":0}'))
    one = F.json_object_keys(wrapped).eqNullSafe(F.array(F.lit("m"), F.lit("end")))
    names = F.filter(
        F.coalesce(F.json_object_keys(text), F.array()),
        lambda name: name.isin([field.name for field in fields]),
    )
    return F.when(F.is_valid_utf8(text) & one, names)


def _members(text: Column, fields: Sequence[Field]) -> Column:
    """The members that are read, each as a VARIANT; NULL where the text is not one JSON object."""
    # In an array, in an object: of what is broken, or followed by more, Spark gives as much as it can read.
    schema = f"m ARRAY<STRUCT<{', '.join(f'{quoted(field.name)}: VARIANT' for field in fields)}>>, `end` INT"
    read = F.from_json(F.concat(F.lit('{"m":['), text, F.lit('],"end":0}')), schema, _HOW)
    found = F.transform(
        F.array(read),
        lambda one: F.when((F.size(one["m"]) == 1) & (one["end"] == 0), F.get(one["m"], F.lit(0))),
    )
    return F.get(found, F.lit(0))


def _unread() -> Column:
    """Why a text is not one JSON object whose members can be read."""
    text = F.col("__text")
    brackets = F.length(text) - F.length(F.translate(text, "[{", ""))
    return (
        F.when(F.col("__names").isNotNull() & ~text.rlike(r"^\s*\{"), "not a JSON object")
        .when(text.rlike(f"[0-9]{{{_DIGITS + 1}}}"), f"not JSON, or a number of over {_DIGITS:,} digits")
        .when(brackets > _DEEPEST, f"not JSON, or nested over {_DEEPEST:,} levels deep")
        .otherwise("not JSON, or two members of one name")
    )


def _member(field: Field) -> Column:
    return F.col("__json")[field.name]


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
        .when(~F.is_valid_utf8("__text"), "invalid UTF-8")
        .when(
            F.col("__unread")
            | F.col("__names").isNull()
            | (F.size("__names") != F.size(F.array_distinct("__names"))),
            _unread(),
        )
    )


def _of_type(field: Field) -> Column:
    kind, value = F.col(_kind(field)), F.col(field.name)
    given = kind.isNotNull() & (kind != "VOID")
    right = _is_kind(kind, field.kind)
    if field.kind == "strings":
        right = right & ~F.exists(value, lambda one: one.isNull())
    if field.kind == "objects":
        right = right & value.isNotNull() & ~F.coalesce(_wrong(field), F.lit(False))
    lost = kind.isNull() & F.array_contains("__names", field.name)
    reasons = F.when(lost, f"{field.name} cannot be read: two members of one name in it, or too long")
    reasons = reasons.when(
        given & ~F.coalesce(right, F.lit(False)), f"{field.name} is not {_WHAT[field.kind]}"
    )
    if field.kind == "string":
        reasons = reasons.when(value.contains("\0"), f"{field.name} holds a NUL character")
    if field.kind == "strings":
        reasons = reasons.when(
            F.exists(value, lambda one: (one == "") | one.contains("\0")),
            f"{field.name} holds an empty string or a NUL",
        )
    if field.kind == "time":
        reasons = reasons.when(
            value.isNotNull() & _as_time(value).isNull(), f"{field.name} is no time such as {_AS_IN}"
        )
    if field.required:
        empty = {"string": value == "", "strings": F.size(value) == 0}.get(field.kind)
        missing = value.isNull() if empty is None or field.may_be_empty else value.isNull() | empty
        reasons = reasons.when(missing, f"no {field.name}")
    return reasons


def _of_value(field: Field) -> Column:
    value = F.col(field.name)
    if field.kind != "time":
        return F.lit(None).cast("string")
    # In a stream this is the clock of the batch as it was planned, so that a batch that is done again decides
    # the same.
    ahead = value > F.current_timestamp() + F.expr(f"INTERVAL {_AHEAD}")
    return F.when(ahead, f"{field.name} lies more than {_AHEAD} ahead").when(
        value < F.lit(_FIRST).cast("timestamp"), f"{field.name} is before 1900"
    )


def _as_time(text: Column) -> Column:
    return F.when(text.rlike(_ISO), F.try_to_timestamp(text))
