"""run_pipeline: which run, for which day or hour, and what its user sees where it stops."""

from datetime import UTC, datetime

import pytest

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline import run as module
from newslake.pipeline.plan import Task
from newslake.pipeline.run import run_pipeline
from newslake.run.cli import run_job
from newslake.run.jobrun import JobRun

CALLS: list[str] = []


def a_job(lake: Lakehouse, run: JobRun, *, as_of: str) -> None:
    """Do something for a day.

    Args:
        as_of: The day.
    """
    CALLS.append(as_of)
    if as_of == "2019-11-13":
        raise UserError("no such day: name another")


def test_a_run_that_stops_says_where_and_how_to_go_on(
    lake: Lakehouse, run: JobRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"^assign_topics: table \w+ is not there yet .*: parse_behaviors"):
        run_pipeline(lake, run, pipeline="daily", as_of="2019-11-15")
    said = capsys.readouterr().out
    assert "Stopped at assign_topics: UserError: table " in said
    assert "The same command goes on from there." in said
    assert "1 failed, 10 not run" in said


def test_a_day_or_hour_that_is_none_is_a_mistake(lake: Lakehouse, run: JobRun) -> None:
    with pytest.raises(UserError, match="2019-15-11"):
        run_pipeline(lake, run, pipeline="weekly", as_of="2019-15-11")
    with pytest.raises(UserError, match="noon"):
        run_pipeline(lake, run, pipeline="hourly", hour="noon")


def test_a_complete_run_starts_anew_and_a_broken_one_goes_on(
    lake: Lakehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def two(encoder: object, *, as_of: str) -> list[Task]:
        return [
            Task(a_job, {"as_of": "2019-11-12"}, key="first"),
            Task(a_job, {"as_of": as_of}, ("first",), "second"),
        ]

    monkeypatch.setattr(module, "daily", two)
    CALLS.clear()
    for _ in range(2):
        run_job(run_pipeline, lake, {"pipeline": "daily", "as_of": "2019-11-14"})
    assert CALLS == ["2019-11-12", "2019-11-14"] * 2, "the jobs find out for themselves what has changed"
    CALLS.clear()
    for _ in range(2):
        with pytest.raises(UserError, match=r"^second: no such day"):
            run_job(run_pipeline, lake, {"pipeline": "daily", "as_of": "2019-11-13"})
    assert CALLS == ["2019-11-12", "2019-11-13", "2019-11-13"], "what the broken run did is not done again"
    assert "1 done before, 1 failed" in capsys.readouterr().out


def test_the_present_day_is_that_of_utc(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "daily", lambda encoder, *, as_of: [Task(a_job, {"as_of": as_of})])
    CALLS.clear()
    today = {datetime.now(UTC).date()}
    run_job(run_pipeline, lake, {"pipeline": "daily"})
    today.add(datetime.now(UTC).date())
    assert CALLS[0] in {str(day) for day in today}
