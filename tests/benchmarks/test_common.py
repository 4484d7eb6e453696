"""What every benchmark writes with --json, and how docs/figures.md shows it."""

import json
import sys
from pathlib import Path

import pytest

from common import Measures
from newslake.reference.figures import figure, fixed_cost, part


def test_figures_say_how_they_were_taken_and_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sort.json"
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/benchmarks/sort.py", "--small", "--json", str(file), "--seed", "2"]
    )
    measures = Measures("Sorting", file)
    measures.add("a list", 2000.0, 500.04, unit="rows/s", better="higher", peer_name="bubbles")
    measures.add("another", 0.5, 2.0, unit="s", better="lower", peer_name="bubbles")
    measures.finish()
    written = json.loads(file.read_text(encoding="utf-8"))
    assert {name: {key: one[key] for key in ("ours", "peer", "ratio")} for name, one in written.items()} == {
        "a list": {"ours": 2000.0, "peer": 500.04, "ratio": pytest.approx(3.99968)},
        "another": {"ours": 0.5, "peer": 2.0, "ratio": 4.0},
    }
    about = written["another"]
    assert about["command"] == "python benchmarks/sort.py --small --seed 2"
    assert part(tmp_path) == [
        "",
        "### sort.py",
        "",
        (
            f"`python benchmarks/sort.py --small --seed 2`: {about['machine']}, {about['versions']},"
            f" {about['date']}."
        ),
        "",
        "| measure | ours | peer | ratio |",
        "| --- | --- | --- | --- |",
        "| a list (rows/s), against bubbles | 2,000 | 500.0 | 4.0 |",
        "| another (s), against bubbles | 0.5 | 2.0 | 4.0 |",
        "",
        "",
    ]


def test_a_measure_against_two_peers_keeps_both(tmp_path: Path) -> None:
    measures = Measures("Sorting", tmp_path / "sort.json")
    for peer, name in ((500.0, "bubbles"), (4000.0, "heaps")):
        measures.add("a list", 2000.0, peer, unit="rows/s", better="higher", peer_name=name)
    measures.finish()
    written = json.loads((tmp_path / "sort.json").read_text(encoding="utf-8"))
    assert {name: one["ratio"] for name, one in written.items()} == {
        "a list / bubbles": 4.0,
        "a list / heaps": 0.5,
    }


def test_figures_that_were_taken_apart_stand_apart_and_what_is_missing_is_left_empty(tmp_path: Path) -> None:
    one, other = {"ours": 1, "command": "a"}, {"ratio": "0.95 to 1.07", "command": "b", "date": "2026-11-22"}
    (tmp_path / "x.json").write_text(json.dumps({"first": one, "second": other}), encoding="utf-8")
    lines = part(tmp_path)
    assert lines[lines.index("`a`: .") :] == [
        "`a`: .",
        "",
        "| measure | ours | peer | ratio |",
        "| --- | --- | --- | --- |",
        "| first | 1 |  |  |",
        "",
        "`b`: 2026-11-22.",
        "",
        "| measure | ours | peer | ratio |",
        "| --- | --- | --- | --- |",
        "| second |  |  | 0.95 to 1.07 |",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1579423, "1,579,423"),
        (173.7, "173.7"),
        (0.00812345, "0.008123"),
        (12345.6, "12,346"),
        ("9.6 %", "9.6 %"),
        (None, ""),
    ],
)
def test_a_figure_has_four_digits(value: float | str | None, told: str) -> None:
    assert figure(value) == told


def test_the_counts_of_every_job_and_their_sum(tmp_path: Path) -> None:
    file = tmp_path / "fixed_cost.json"
    file.write_text(
        '{"a": {"executions": 1000, "jobs": 2, "tasks": 3}, "b": {"executions": 1, "jobs": 1, "tasks": 1}}',
        encoding="utf-8",
    )
    assert fixed_cost(file)[-2] == "| all | 1,001 | 3 | 4 |"
