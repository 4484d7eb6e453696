"""The definition of the runs: tasks whose jobs and options exist, in an order that can run, and one encoder for all."""

import inspect
from pathlib import Path

import pytest

from newslake.cli import job_options
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.pipeline.plan import Option, Task, arguments_of, checked, named
from newslake.pipeline.runs import daily, hourly, streams, weekly
from newslake.pipeline.sample import sample_run

NOT_SHOWN = {"run_pipeline", "stream_behaviors", "make_views", "encode_users"}
PROJECT = Path(__file__).parent.parent.parent
ENCODER: dict[str, Option] = {"encoder": "some-model", "max_tokens": 100}
RUNS = {
    "streams": streams(ENCODER, kafka="kafka:9092", topics=("articles", "events")),
    "hourly": hourly(ENCODER, hour="2019-11-15T12"),
    "daily": daily(ENCODER, as_of="2019-11-15"),
    "weekly": weekly(ENCODER, as_of="2019-11-15"),
    "sample": sample_run("/sample", {"articles": 500}, ENCODER, {"seed": 1, "epochs": None}, 1),
}


def a_job(lake: Lakehouse, run: JobRun, *, names: list[str] | None = None, force: bool = False) -> None:
    """Do nothing."""


def as_text(value: object) -> list[str]:
    """An option's value, one or several, as text: a definition may say 0 or "0"."""
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]


@pytest.mark.parametrize("name", RUNS)
def test_every_task_is_a_script_with_these_options(name: str) -> None:
    for task in checked(RUNS[name]):
        assert (PROJECT / "jobs" / f"{task.job.__name__}.py").exists()
        given = job_options(task.job, task.arguments)
        wanted = {option: as_text(value) for option, value in task.options.items() if value is not None}
        assert {option: as_text(given[option]) for option in wanted} == wanted


@pytest.mark.parametrize("name", RUNS)
def test_every_job_that_encodes_is_given_the_same_encoder(name: str) -> None:
    encoding = [task for task in RUNS[name] if "pooling" in inspect.signature(task.job).parameters]
    assert encoding
    for task in encoding:
        assert {option: task.options[option] for option in ENCODER} == ENCODER
        assert task.machine == "gpu"


def test_the_sample_shows_every_job() -> None:
    jobs = {path.stem for path in (PROJECT / "jobs").glob("*.py")} - NOT_SHOWN
    assert {task.job.__name__ for task in RUNS["sample"]} == jobs


def test_the_scheduled_runs_are_parts_of_the_sample() -> None:
    scheduled = {(task.job, task.machine) for name in ("streams", "hourly", "daily", "weekly") for task in RUNS[name]}
    assert {(job, machine) for job, machine in scheduled if job.__name__ not in NOT_SHOWN} <= {
        (task.job, task.machine) for task in RUNS["sample"]
    }


def test_options_as_arguments() -> None:
    options: dict[str, Option] = {
        "as_of": "2019-11-15",
        "names": ["a", "b c"],
        "force": True,
        "replace": False,
        "epochs": None,
        "share": 0.5,
    }
    assert arguments_of(options) == ["--as-of=2019-11-15", "--names=a", "--names=b c", "--force", "--no-replace", "--share=0.5"]
    assert job_options(a_job, arguments_of({"names": ["a", "b c"], "force": True})) == {"names": ["a", "b c"], "force": True}
    assert job_options(a_job, arguments_of({"force": False})) == {"force": False}


def test_an_order_that_cannot_run_is_refused() -> None:
    first, second = Task(a_job, key="first"), Task(a_job, {"force": True}, ("first",), "second")
    assert checked([first, second]) == [first, second]
    with pytest.raises(ValueError, match="second waits for first"):
        checked([second, first])
    with pytest.raises(ValueError, match="two tasks are called first"):
        checked([first, first])
    assert [(task.key, task.after) for task in named([first, second], " 1")] == [("first 1", ()), ("second 1", ("first 1",))]
