"""A run of several jobs: in order, taken up where it failed, and leaving out what has not changed."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Task
from newslake.pipeline.steps import Step, _mark, run_steps
from newslake.pipeline.summary import steps_table
from newslake.run.jobrun import JobRun
from newslake.run.settings import SettingsFile

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls_yet() -> None:
    CALLS.clear()


def reading_job(lake: Lakehouse, run: JobRun, *, folder: str, scale: int = 1) -> None:
    """Read files.

    Args:
        folder: Where they are.
        scale: How much.
    """
    CALLS.append(f"read {scale}")
    lake.create("news")
    run.rows_in(3)
    run.wrote("news", 2)
    run.quarantined(1)


def middle_job(lake: Lakehouse, run: JobRun, *, fail: str = "") -> None:
    """Fail as told.

    Args:
        fail: How.
    """
    CALLS.append("middle")
    if fail == "job":
        raise JobFailed("broken")
    if fail == "user":
        raise UserError("no such thing: name another")
    if fail:
        raise ZeroDivisionError(fail)


def last_job(lake: Lakehouse, run: JobRun) -> None:
    """Come last."""
    CALLS.append("last")


def going(lake: Lakehouse, run: JobRun, tasks: Sequence[Task], **how: bool) -> list[Step]:
    """What became of the tasks in a run that fails or does not; CALLS holds only those of this run."""
    CALLS.clear()
    steps = [Step(task) for task in tasks]
    with contextlib.suppress(JobFailed, UserError, ZeroDivisionError):
        run_steps(lake, run, steps, name="test", **how)  # type: ignore[arg-type]
    return steps


def states(steps: Sequence[Step]) -> list[str]:
    return [step.state for step in steps]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with one input file."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "news.tsv").write_text("N1")
    return str(tmp_path / "input")


def three(folder: str, *, fail: str = "", scale: int = 1) -> list[Task]:
    """Reading, then middle and, beside it, last; both wait for reading."""
    return [
        Task(reading_job, {"folder": folder, "scale": scale}, inputs=(folder,)),
        Task(middle_job, {"fail": fail} if fail else {}, ("reading_job",)),
        Task(last_job, {}, ("reading_job",)),
    ]


def test_jobs_run_in_order_until_one_fails_and_the_next_run_goes_on_there(
    lake: Lakehouse, run: JobRun, folder: str
) -> None:
    tasks = three(folder, fail="job")
    with pytest.raises(JobFailed, match=r"^middle_job: broken$"):
        run_steps(lake, run, steps := [Step(task) for task in tasks], name="test")
    assert states(steps) == ["done", "failed", "not run"]
    assert CALLS == ["read 1", "middle"]
    text = steps_table(steps, 1.0)
    assert "1 done, 1 failed, 1 not run" in text
    assert "Stopped at middle_job: JobFailed: broken" in text
    assert (steps[0].rows_in, steps[0].rows_out, steps[0].quarantined) == (3, {"news": 2}, 1)
    assert (run.rows_written, run.rows_rejected) == ({"news": 2}, 1)
    assert states(going(lake, run, three(folder))) == ["done before", "done", "done"]
    assert CALLS == ["middle", "last"]


def test_each_step_says_how_much_is_left(
    lake: Lakehouse, run: JobRun, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="newslake"):
        run_steps(lake, run, [Step(task) for task in three(folder)], name="test")
    told = [
        record.getMessage()
        for record in caplog.records
        if re.search(r"\[\d/3\] .*: .*rows", record.getMessage())
    ]
    assert [bool(re.search(r"; about \d+ (s|min) left$", text)) for text in told] == [True, True, False]


def test_a_mistake_and_a_bug_end_the_run_as_what_they_are(lake: Lakehouse, run: JobRun) -> None:
    for fail, kind in (("user", UserError), ("division", ZeroDivisionError)):
        with pytest.raises(
            kind, match=fail if fail == "division" else "^middle_job: no such thing: name another$"
        ):
            run_steps(lake, run, [Step(Task(middle_job, {"fail": fail}))], name="test")


def test_nothing_runs_where_one_task_has_a_wrong_option(lake: Lakehouse, run: JobRun, folder: str) -> None:
    tasks = [*three(folder)[:1], Task(middle_job, {"fial": "x"})]
    with pytest.raises(UserError, match=r"middle_job: .*--fial"):
        run_steps(lake, run, [Step(task) for task in tasks], name="test")
    assert CALLS == []


def test_what_was_done_is_left_out_until_something_before_it_changes(
    lake: Lakehouse, run: JobRun, folder: str, tmp_path: Path
) -> None:
    reading = Task(reading_job, {"folder": folder}, inputs=(folder,))
    both = [reading, Task(last_job, {}, ("reading_job",))]
    assert states(going(lake, run, both)) == ["done", "done"]
    again = going(lake, run, both)
    assert states(again) == ["done before", "done before"]
    assert again[0].rows_out == {"news": 2}, "the summary shows what the run that did it wrote"
    (Path(folder) / "news-2.tsv").write_text("N2")
    assert states(going(lake, run, [reading])) == ["done"], "the input changed"
    assert states(going(lake, run, both)) == ["done before", "done"], "what it waits for was done since"
    assert lake.root is not None
    (Path(lake.root) / "news" / "_delta_log").rename(tmp_path / "gone")
    assert states(going(lake, run, [reading])) == ["done"], "the table that the job wrote is gone"
    assert states(going(lake, run, [reading], again=True)) == ["done"]


def test_another_option_or_another_run_is_other_work() -> None:
    task = Task(reading_job, {"folder": "a"})
    marks = [_mark("daily 1", task, {"folder": "a", "scale": 1}), _mark("daily 1", task, {"folder": "a"})]
    assert marks[0] == marks[1], "a default that is given is the same work"
    others = [
        _mark("daily 2", task, {"folder": "a"}),
        _mark("daily 1", task, {"folder": "a", "scale": 2}),
        _mark("daily 1", task, {"folder": "b"}),
    ]
    assert len({marks[0], *others}) == 4


def test_what_a_task_makes_beside_tables_must_be_there_too(
    lake: Lakehouse, run: JobRun, tmp_path: Path
) -> None:
    made = tmp_path / "spec.json"
    task = Task(last_job, makes=(str(made),))
    assert states(going(lake, run, [task])) == ["done"]
    assert states(going(lake, run, [task])) == ["done"], "it is not there"
    made.write_text("{}")
    assert states(going(lake, run, [task])) == ["done before"]


def test_runs_before_a_moment_do_not_count(lake: Lakehouse, run: JobRun) -> None:
    tasks = [Task(last_job)]
    assert states(going(lake, run, tasks)) == ["done"]
    [row] = lake.read("job_runs").collect()
    run_steps(lake, run, steps := [Step(task) for task in tasks], name="test", since=row.ended_at)
    assert states(steps) == ["done"]
    run_steps(lake, run, steps := [Step(task) for task in tasks], name="test", since=row.ended_at)
    assert states(steps) == ["done before"], "of this attempt"


def test_a_settings_file_sets_the_options_of_each_job(
    lake: Lakehouse, spark: SparkSession, folder: str
) -> None:
    profile = SettingsFile("mine.yaml", common={"scale": 7}, jobs={"middle_job": {"fail": "job"}})
    steps = going(
        lake, JobRun("test", {}, profile), [Task(reading_job, {"folder": folder}), Task(middle_job)]
    )
    assert CALLS == ["read 7", "middle"]
    assert states(steps) == ["done", "failed"]
