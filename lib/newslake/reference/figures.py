"""The tables of docs/figures.md, from what the benchmarks wrote with --json: each measure with its command,
machine, versions and date."""

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from newslake.reference.pages import table

_TAKEN = ("command", "machine", "versions", "date")


def part(results: Path) -> list[str]:
    """Lines of the tables of all results, file by file.

    Args:
        results: folder with <benchmark>.json: {measure: {ours, peer, ratio, unit, command, machine, versions,
            date}}; any but the measure may be missing.
    """
    lines: list[str] = []
    for file in sorted(results.glob("*.json")):
        lines += ["", f"### {file.stem}.py", "", *_tables(json.loads(file.read_text(encoding="utf-8")))]
    return [*lines, ""]


def fixed_cost(file: Path) -> list[str]:
    """Lines of the table of counts that benchmarks/fixed_cost.py keeps: {job: {executions, jobs, tasks}}."""
    counts: dict[str, dict[str, int]] = json.loads(file.read_text(encoding="utf-8"))
    rows = [
        (f"`{job}`", *(f"{one[name]:,}" for name in ("executions", "jobs", "tasks")))
        for job, one in counts.items()
    ]
    total = [f"{sum(one[name] for one in counts.values()):,}" for name in ("executions", "jobs", "tasks")]
    return ["", *table(("job", "executions", "jobs", "tasks"), [*rows, ("all", *total)]), ""]


def _tables(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    def taken(one: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
        return tuple(str(one[1].get(name, "")) for name in _TAKEN)

    for (command, machine, versions, date), group in groupby(figures.items(), key=taken):
        yield f"`{command}`: {', '.join(part for part in (machine, versions, date) if part)}."
        yield ""
        yield from table(("measure", "ours", "peer", "ratio"), [_row(name, one) for name, one in group])
        yield ""


def _row(name: str, one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    peer = one.get("against") or ""
    # A measure against several peers is kept once for each, under "measure / peer".
    measure = name.removesuffix(f" / {peer}")
    unit = f" ({one['unit']})" if one.get("unit") else ""
    against = f", against {peer}" if peer else ""
    return (f"{measure}{unit}{against}", *(figure(one.get(part)) for part in ("ours", "peer", "ratio")))  # type: ignore[return-value]


def figure(value: float | str | None) -> str:
    """A figure to four digits; what is written as text stays as it is."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.4g}')}"
