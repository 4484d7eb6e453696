"""The settings file of checks: what ships is whole, and each mistake is one line that names its place."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.checks.rules import KINDS, READERS, STREAMS, Check, load_checks, parsed_checks
from newslake.errors import UserError

PROJECT = Path(__file__).parent.parent.parent


def test_the_file_that_ships_has_every_kind_of_check(spark: SparkSession) -> None:
    assert {check.kind for check in load_checks("standard")} == set(KINDS)


def test_the_jobs_that_checks_name_are_there() -> None:
    assert all((PROJECT / "jobs" / f"{job}.py").exists() for job in (*READERS, *STREAMS))


def test_what_a_check_does_not_say_is_the_default(spark: SparkSession) -> None:
    [check] = parsed_checks(
        "checks: [{name: q, check: quarantine_share, job: parse_behaviors, at_most: 0.01}]", "f"
    )
    assert check == Check("q", "quarantine_share", {"runs": 1, "job": "parse_behaviors"}, at_most=0.01)
    assert check.wanted() == "at most 0.01 of the input"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("check: freshnes, table: news, at_most: 1", "no kind of check 'freshnes': did you mean freshness?"),
        ("check: freshness, table: newz, at_most: 1", "no table 'newz': did you mean news?"),
        ("check: freshness, table: zzzz, at_most: 1", "no table 'zzzz': docs/reference/tables.md lists them"),
        (
            "check: freshness, table: news, column: updated, at_most: 1",
            "no column of news 'updated': did you mean updated_at?",
        ),
        (
            "check: freshness, table: news, column: title, at_most: 1",
            "column title of news holds no time; these do: published_at",
        ),
        ("check: row_count, table: news, at_most: 1", "row_count needs column"),
        ("check: freshness, table: news", r"no threshold: give at_most \(hours\)"),
        ("check: freshness, table: news, at_least: 1", "freshness takes at_most, not at_least"),
        ("check: freshness, table: news, at_most: soon", r"at_most takes a number \(hours\), not 'soon'"),
        ("check: freshness, table: news, at_most: true", "at_most takes a number"),
        (
            "check: row_count, table: news, column: updated_at, at_least: 2, at_most: 1",
            "at_least 2 is above at_most 1",
        ),
        (
            "check: freshness, table: news, max_hours: 1",
            "freshness does not take max_hours; it takes name, check",
        ),
        ("check: stream_lag, job: encode_articles, at_most: 1", "no job 'encode_articles': "),
        (
            "check: quarantine_share, job: import_labels, runs: 0, at_most: 1",
            "runs takes a whole number from 1, not 0",
        ),
        (
            "check: freshness, table: news, at_most: 1, required: often",
            "required takes true or false, not 'often'",
        ),
    ],
)
def test_a_mistake_is_a_line_that_names_its_place(spark: SparkSession, entry: str, said: str) -> None:
    good = "checks:\n  - {name: first, check: freshness, table: news, at_most: 1}\n\n"
    with pytest.raises(UserError, match=rf"^mine\.yaml, line 4, check second: {said}") as error:
        parsed_checks(f"{good}  - {{name: second, {entry}}}\n", "mine.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checks: [", "not valid YAML"),
        ("rules: []", "the top level takes `checks`"),
        ("checks: []", "the top level takes `checks`"),
        ("- 1", "the top level takes `checks`"),
        ("", "the top level takes `checks`"),
        ("checks:\n  - 1", "line 2: a check is"),
        ("checks:\n- {check: freshness}", "line 2: a check is"),
    ],
)
def test_a_file_of_another_form_is_refused(spark: SparkSession, text: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^f(, |: ){said}"):
        parsed_checks(text, "f")


def test_two_checks_of_one_name_are_refused(spark: SparkSession) -> None:
    one = "  - {name: first, check: freshness, table: news, at_most: 1}\n"
    with pytest.raises(UserError, match=r"^f, line 3, check first: there is another check of this name"):
        parsed_checks(f"checks:\n{one}{one}", "f")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"^--checks nope: no such file, and none of that name ships"):
        load_checks("nope")
