"""The way in: what a job's user types, sees, and gets as exit status."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import main, run_job
from newslake.run.jobrun import JobRun, every_run, masked

PROJECT = Path(__file__).parent.parent.parent
JOBS = sorted(path.stem for path in (PROJECT / "jobs").glob("*.py"))
SEEN: list[tuple[object, ...]] = []


def example_job(
    lake: Lakehouse,
    run: JobRun,
    *,
    train: list[str],
    min_score: float = 0.9,
    replace: bool = False,
    api_token: str | None = None,
) -> None:
    """Do something with some files.

    Args:
        train: Folders to read.
        min_score: Least score to use.
        replace: Put the files in place of what is there.
        api_token: A secret.
    """
    SEEN.append((train, min_score, replace))
    if train == ["mistake"]:
        raise UserError("no folder named mistake: give one that is there")
    if train == ["lost-rows"]:
        raise JobFailed("5 rows in, 4 out")
    if train == ["bug"]:
        raise ZeroDivisionError("a bug")
    run.rows_in(3)
    run.wrote("news", 2)
    run.quarantined(1)
    run.fact("articles without text", 1200)


def status(*arguments: str) -> int:
    """Exit status of the example job."""
    try:
        main(example_job, list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_signature_is_a_command_line(lake: Lakehouse) -> None:
    assert status("--train", "a", "b", "--min-score=0.5", "--replace", f"--lakehouse={lake.root}") == 0
    assert SEEN[-1] == (["a", "b"], 0.5, True)
    assert status("--train=a", "--train=b", f"--lakehouse={lake.root}") == 0
    assert SEEN[-1] == (["a", "b"], 0.9, False)


def test_help_explains_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--help") == 0
    text = capsys.readouterr().out
    for part in (
        "Do something with some files",
        "--train",
        "required",
        "--min-score",
        "0.9",
        "Least score to use",
        "--lakehouse",
        "--catalog",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--train"),
        (["--train=a", "--min-score=high"], '--min-score: unable to convert "high" into float'),
        (["--train=a", "--min-scor=0.5"], "Did you mean --min-score"),
        (["--train=a", "--config=nowhere.yaml"], "no such file"),
        (["--train=mistake"], "no folder named mistake: give one that is there"),
        (["--train=a", "--catalog=main"], "--catalog needs --schema"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    arguments: list[str],
    says: str,
    spark: SparkSession,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("example_job: ")
    assert says in lines[0]
    assert not (tmp_path / "lakehouse").exists(), "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("train", "says"), [("lost-rows", "5 rows in, 4 out"), ("bug", "ZeroDivisionError: a bug")]
)
def test_a_failed_job_is_status_1_and_recorded(
    train: str, says: str, lake: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(f"--train={train}", f"--lakehouse={lake.root}") == 1
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
    [row] = lake.read("job_runs").collect()
    assert row.outcome == "failed"
    assert says in row.message


def test_a_run_is_recorded_with_its_settings_and_counts(lake: Lakehouse) -> None:
    assert status("--train=a", "--api-token=abc123", f"--lakehouse={lake.root}") == 0
    [row] = lake.read("job_runs").collect()
    assert (row.job, row.outcome, row.message) == ("example_job", "done", None)
    assert row.settings == {"train": "['a']", "min_score": "0.9", "replace": "False", "api_token": "***"}
    assert JobRun("example_job", {"api_token": None, "model": None}).settings == {
        "api_token": None,
        "model": None,
    }, "not given, not 'None'"
    assert (row.rows_in, row.rows_out, row.rows_quarantined) == (3, {"news": 2}, 1)
    assert row.facts == {"articles without text": "1,200"}
    assert row.started_at <= row.ended_at


def test_a_run_that_has_begun_shows_as_running(lake: Lakehouse) -> None:
    run_job(example_job, lake, {"train": ["a"]})
    outcomes: list[str] = []

    def looking_job(lake: Lakehouse, run: JobRun) -> None:
        outcomes.extend(row.outcome for row in every_run(lake).where("job = 'looking_job'").collect())

    run_job(looking_job, lake, {})
    assert outcomes == ["running"]
    assert [row.outcome for row in every_run(lake).where("job = 'looking_job'").collect()] == ["done"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("api_token", "x", "***"),
        ("api_token", None, "None"),
        ("uri", "http://user:pw@host:1/db", "http://***@host:1/db"),
        ("uri", "abfss://box@host/path?sig=abc&x=1", "abfss://***@host/path?***&x=1"),
        ("max_tokens", 512, "512"),
    ],
)
def test_credentials_are_masked(name: str, value: object, shown: str) -> None:
    assert masked(name, value) == shown


def test_a_settings_file_sets_options_and_the_command_line_wins(lake: Lakehouse, tmp_path: Path) -> None:
    settings_file = tmp_path / "mine.yaml"
    settings_file.write_text(
        f"options:\n  lakehouse: {lake.root}\n  not_an_option_of_this_job: 1\n"
        "jobs:\n  example_job:\n    min-score: 0.3\n    train: [x, y]\n  other_job:\n    anything: 1\n"
    )
    assert status(f"--config={settings_file}") == 0
    assert SEEN[-1] == (["x", "y"], 0.3, False)
    assert status("--config", str(settings_file), "--min-score=0.4", "--train=z") == 0
    assert SEEN[-1] == (["z"], 0.4, False)
    assert lake.read("job_runs").count() == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("jobs:\n  example_job:\n    min-scor: 0.3\n", "min-scor"),
        ("job: {}\n", "options, jobs and spark"),
        ("options: [1]\n", "name: value"),
        ("options: {a: b\n", "not valid YAML"),
        ("jobs:\n  example_job:\n    min-score: high\n", "min-score"),
    ],
)
def test_a_wrong_settings_file_is_a_mistake_of_one_line(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings_file = tmp_path / "mine.yaml"
    settings_file.write_text(text)
    assert status("--train=a", f"--config={settings_file}") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]


@pytest.mark.parametrize("job", JOBS)
def test_every_job_explains_itself(
    job: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"jobs/{job}.py", "--help"])
    runpy.run_path(str(PROJECT / "jobs" / f"{job}.py"), run_name="__main__")
    said = capsys.readouterr().out
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", said))
    assert {"--lakehouse", "--config", "--help"} <= options
    # Every option is a row of the help with a text of its own beside its name and type.
    assert not re.search(r"│\s+\*?\s*--[a-z-]+(?: --no-[a-z-]+)?(?: [A-Z]+(?:\.\.\.)?)?\s*│", said), said


@pytest.mark.parametrize(("arguments", "expected"), [(["--help"], 0), (["--no-such-option"], 2)])
def test_plain_spark_submit_finds_everything_and_passes_the_status_on(
    arguments: list[str], expected: int
) -> None:
    venv = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{venv}:{os.environ['PATH']}"}
    command = ["spark-submit", "jobs/encode_articles.py", *arguments]
    result = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == expected, result.stderr
    # Spark's runner of Python scripts puts a job's stderr into its own stdout.
    said = result.stdout + result.stderr
    assert ("--encoder" in said) if expected == 0 else ("encode_articles: Unknown option" in said)
    assert "Traceback" not in said


def test_spark_submit_runs_a_job_on_delta_tables_without_further_flags(tmp_path: Path) -> None:
    venv = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{venv}:{os.environ['PATH']}"}
    command = ["spark-submit", "jobs/encode_articles.py", f"--lakehouse={tmp_path}/empty"]
    result = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    said = result.stdout + result.stderr
    ours = [line for line in said.splitlines() if line.startswith("encode_articles: ")]
    assert len(ours) == 1
    assert "table news is not there yet" in ours[0]
    assert "Traceback" not in said
    assert not (tmp_path / "empty").exists()
