"""The settings file of checks: read, and every name in it checked, before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import yaml
from pyspark.sql import types as T

from newslake.errors import UserError
from newslake.lake.tablespec import table_names, table_spec
from newslake.run.settings import own_or_shipped

READERS = (
    "parse_behaviors",
    "parse_ebnerd",
    "import_labels",
    "import_table",
    "stream_articles",
    "stream_behaviors",
)
"""Jobs whose rows_in are lines or messages from outside, of which some may go to quarantine."""
STREAMS = ("stream_articles", "stream_behaviors")


@dataclass(frozen=True)
class Kind:
    """What checks of one kind say in the file.

    Attributes:
        unit: of the value and the thresholds.
        needs: settings that must be there.
        takes: further settings, with their defaults.
        sides: the thresholds that make sense.
        looks_at: the tables that it reads, the one that it is about first; empty: the one that `table` names.
        jobs: what `job` may be.
    """

    unit: str
    needs: tuple[str, ...] = ()
    takes: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[str, ...] = ("at_least", "at_most")
    looks_at: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "freshness": Kind("hours", ("table",), {"column": None}, ("at_most",)),
    "row_count": Kind("times the week before", ("table", "column")),
    "quarantine_share": Kind("of the input", ("job",), {"runs": 1}, ("at_most",), ("job_starts",), READERS),
    "stream_lag": Kind("minutes", ("job",), {"topic": None}, ("at_most",), ("job_starts",), STREAMS),
    "feed_coverage": Kind(
        "of the readers", (), {"days": 7, "hours": 1}, ("at_least",), ("newsfeed", "impressions")
    ),
    "feed_rows": Kind("articles", (), {"hours": 1}, ("at_least",), ("newsfeed",)),
    "calibration": Kind(
        "times what was observed", (), {"days": 7, "least_shown": 1000}, looks_at=("impressions", "newsfeed")
    ),
}
_EVERY = ("name", "check", "required", "at_least", "at_most")
_COUNTS = ("runs", "days", "hours", "least_shown")


@dataclass(frozen=True)
class Check:
    """One check of the file.

    Attributes:
        name: its own, which results go by.
        kind: what it measures.
        settings: of its kind, defaults filled in.
        at_least, at_most: thresholds in the unit of its kind; at least one is there.
        required: whether nothing to measure is a breach too.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    at_least: float | None = None
    at_most: float | None = None
    required: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it reads, the one that it is about first."""
        return KINDS[self.kind].looks_at or (str(self.settings["table"]),)

    def kept(self, value: float) -> bool:
        """Whether a value keeps the thresholds; one that is no number does not."""
        return value >= (self.at_least if self.at_least is not None else value) and value <= (
            self.at_most if self.at_most is not None else value
        )

    def wanted(self) -> str:
        """The thresholds in words."""
        sides = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        sides += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return f"{' and '.join(sides)} {KINDS[self.kind].unit}"


def load_checks(name: str) -> list[Check]:
    """Read a settings file of checks: a path, or the name of one that ships with newslake. Needs a running
    Spark session.

    Raises:
        UserError: there is no such file, or something in it is unknown or wrong; says in which line.
    """
    return parsed_checks(own_or_shipped(name, "--checks", "standard does", "checks"), name)


def parsed_checks(text: str, source: str) -> list[Check]:
    """The checks of a file's text.

    Args:
        text: YAML: a list under `checks`.
        source: the file's name, for messages.

    Raises:
        UserError: see load_checks.
    """
    try:
        content, tree = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if (
        not isinstance(content, dict)
        or content.keys() != {"checks"}
        or not isinstance(content["checks"], list)
        or not content["checks"]
    ):
        raise UserError(
            f"{source}: the top level takes `checks`, a list with at least one check, and nothing else"
        )
    lines = [node.start_mark.line + 1 for node in tree.value[0][1].value]  # type: ignore[union-attr]
    found: dict[str, Check] = {}
    for line, entry in zip(lines, content["checks"], strict=True):
        place = f"{source}, line {line}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise UserError(f"{place}: a check is `name: value` lines, a `name` of its own among them")
        place += f", check {entry['name']}"
        if entry["name"] in found:
            raise UserError(
                f"{place}: there is another check of this name: results go by it, so choose another"
            )
        found[entry["name"]] = _check(place, entry)
    return list(found.values())


def _check(place: str, entry: Mapping[str, Any]) -> Check:
    kind_name = str(entry.get("check"))
    if kind_name not in KINDS:
        raise UserError(f"{place}: {_unknown('kind of check', kind_name, KINDS)}")
    kind = KINDS[kind_name]
    known = (*_EVERY, *kind.needs, *kind.takes)
    if unknown := [str(name) for name in entry if name not in known]:
        raise UserError(
            f"{place}: {kind_name} does not take {', '.join(unknown)}; it takes {', '.join(known)}"
        )
    if missing := [name for name in kind.needs if entry.get(name) is None]:
        raise UserError(f"{place}: {kind_name} needs {', '.join(missing)}")
    low, high = (_threshold(place, kind_name, side, entry.get(side)) for side in ("at_least", "at_most"))
    if low is None and high is None:
        raise UserError(f"{place}: no threshold: give {' or '.join(kind.sides)} ({kind.unit})")
    if low is not None and high is not None and low > high:
        raise UserError(f"{place}: at_least {low:g} is above at_most {high:g}")
    required = entry.get("required", False)
    if not isinstance(required, bool):
        raise UserError(f"{place}: required takes true or false, not {required!r}")
    settings = {
        **kind.takes,
        **{name: entry[name] for name in (*kind.needs, *kind.takes) if entry.get(name) is not None},
    }
    _refuse_wrong(place, kind, settings)
    return Check(entry["name"], kind_name, settings, low, high, required)


def _threshold(place: str, kind: str, side: str, value: Any) -> float | None:
    if value is None:
        return None
    if side not in KINDS[kind].sides:
        raise UserError(f"{place}: {kind} takes {KINDS[kind].sides[0]}, not {side}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise UserError(f"{place}: {side} takes a number ({KINDS[kind].unit}), not {value!r}")
    return float(value)


def _refuse_wrong(place: str, kind: Kind, settings: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        value = settings.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{place}: {name} takes a whole number from 1, not {value!r}")
    if "job" in settings and settings["job"] not in kind.jobs:
        raise UserError(f"{place}: {_unknown('job', str(settings['job']), kind.jobs)}")
    if "table" not in settings:
        return
    table = str(settings["table"])
    if table not in table_names():
        raise UserError(
            f"{place}: {_unknown('table', table, table_names(), 'docs/reference/tables.md lists them')}"
        )
    if (column := settings.get("column")) is None:
        return
    schema = table_spec(table).schema()
    times = [part.name for part in schema if isinstance(part.dataType, T.TimestampType | T.DateType)]
    if column not in schema.names:
        raise UserError(f"{place}: {_unknown(f'column of {table}', str(column), times)}")
    if column not in times:
        raise UserError(
            f"{place}: column {column} of {table} holds no time; these do: {', '.join(times) or 'none'}"
        )


def _unknown(what: str, name: str, known: Any, instead: str | None = None) -> str:
    """What is unknown, and what was probably meant, or what there is."""
    near = get_close_matches(name, list(known), n=1)
    return f"no {what} {name!r}: " + (
        f"did you mean {near[0]}?" if near else instead or f"there is {', '.join(known) or 'none'}"
    )
