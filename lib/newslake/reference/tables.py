"""docs/reference/tables.md: each table's columns, key, partitions, who writes and reads it, and how long its
rows are kept."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from newslake.lake.tablespec import TableSpec, table_names, table_spec
from newslake.pipeline.old_runs import BY_RUN
from newslake.pipeline.purge import OF_OLD_NEWS
from newslake.pipeline.retention import PHRASES, RULES
from newslake.pipeline.runs import RETENTION
from newslake.reference.flow import also_writing, readers
from newslake.reference.pages import NOTE, code, prose, table
from newslake.run.options import flag

_COLUMN = re.compile(
    r"^\s*(?P<name>\w+) (?P<type>.+?)(?P<required> NOT NULL)? COMMENT '(?P<comment>.*)',?$", re.MULTILINE
)
_COMMENT = re.compile(r"^COMMENT '(?P<comment>.*)'$", re.MULTILINE)
_CONSTRAINT = re.compile(
    r"^\s*'delta\.constraints\.\w+' = (?P<quote>['\"])(?P<rule>.*)(?P=quote),?$", re.MULTILINE
)


@dataclass(frozen=True)
class Column:
    """A column as the contract's file states it."""

    name: str
    type: str
    required: bool
    comment: str


def page() -> str:
    """The whole page."""
    names = table_names()
    lines = [NOTE, "", "# Tables", "", *_INTRODUCTION, ""]
    lines += table(
        ("table", "one row", "key", "written by"),
        [
            (
                f"[`{name}`](#{name})",
                prose(_row(table_spec(name))),
                ", ".join(table_spec(name).key),
                table_spec(name).written_by,
            )
            for name in names
        ],
    )
    for name in names:
        lines += ["", *_section(table_spec(name))]
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    (
        f"There are {len(table_names())}, all of them Delta. The contract of each is its file in `schemas/`:"
        " columns, key, and constraints"
    ),
    (
        "that Delta enforces. A required column is never NULL. Times are UTC. The report, the checks and the"
        " views read whatever is there, and"
    ),
    "[questions in SQL](../sql.md) shows what to ask.",
)


def columns(spec: TableSpec) -> list[Column]:
    """The columns, in the contract's order, without asking Spark's parser."""
    found = _COLUMN.finditer(spec.columns)
    return [
        Column(one["name"], one["type"], one["required"] is not None, one["comment"].replace("\\'", "'"))
        for one in found
    ]


def _section(spec: TableSpec) -> list[str]:
    read_by, others = readers(spec.name), also_writing(spec.name)
    facts = [
        f"Key: {code(spec.key)}.",
        f"Partitioned by {code(spec.partitions)}." if spec.partitions else "",
        f"Written by: {prose(spec.written_by)}{f'; also by {code(others)}' if others else ''}.",
        f"Read by: {_linked(read_by)}." if read_by else "",
        f"Kept: {kept(spec.name)}.",
    ]
    rules = [one["rule"] for one in _CONSTRAINT.finditer(spec.ddl)]
    facts += [f"Constraints: {'; '.join(f'`{rule}`' for rule in rules)}."] if rules else []
    rows = [
        (f"`{one.name}`", f"`{one.type}`", "required" if one.required else "", prose(one.comment))
        for one in columns(spec)
    ]
    lines = [f"## {spec.name}", "", f"{_comment(spec)}.", "", *(f"- {fact}" for fact in facts if fact), ""]
    return [*lines, *table(("column", "type", "", "what it holds"), rows)]


_OTHERWISE = {
    "article_vectors": "rows by a topic model of the past go once no user vector is by it",
    "vector_exports": "as long as the collection in Milvus holds the item",
}
"""What the rules do not say."""


def kept(name: str) -> str:
    """How long rows stay: what purge_news deletes, by which option, and what the daily run gives it."""
    told = []
    if name in OF_OLD_NEWS:
        used = "" if name == "article_vectors" else ", or has a use that `--keep` names"
        told.append(
            f"while its article is not older than `--older-than` ({RETENTION['older_than']} days in the daily"
            f" run){used}"
        )
    if name in BY_RUN:
        told.append(
            f"rows of the last `--model-runs` ({RETENTION['model_runs']} in the daily run) of each kind, and"
            " of what is in use"
        )
    for rule in RULES:
        if rule.table == name:
            last = "; the latest ones stay" if rule.latest_stays else ""
            told.append(f"`{flag(rule.setting)}` after `{rule.column}` ({_days(rule.setting)}){last}")
    if name == PHRASES:
        told.append(
            f"`--tag-phrase-days` after `last_used` ({_days('tag_phrase_days')}), and while a day takes its"
            " vector from them"
        )
    return (
        "; ".join([*told, *([_OTHERWISE[name]] if name in _OTHERWISE else [])])
        or "no job deletes rows by their age"
    )


def _days(setting: str) -> str:
    days = RETENTION.get(setting)
    return "off in the daily run" if days is None else f"{days} days in the daily run"


def _row(spec: TableSpec) -> str:
    return _comment(spec).removeprefix("One row is ").removeprefix("One row ")


def _comment(spec: TableSpec) -> str:
    [comment] = [one["comment"] for one in _COMMENT.finditer(spec.ddl)]
    return comment


def _linked(names: Iterable[str]) -> str:
    return ", ".join(f"[`{name}`](jobs.md#{name})" for name in names)
