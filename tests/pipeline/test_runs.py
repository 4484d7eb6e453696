"""The definition of the runs: tasks whose jobs and options exist, in an order that can run, and one encoder
for all."""

from pathlib import Path

import pytest

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Option, Task, arguments_of, checked, named, without
from newslake.pipeline.runs import checks, daily, hourly, streams, weekly
from newslake.pipeline.sample import sample_run
from newslake.run.cli import defaults_of, job_options
from newslake.run.jobrun import JobRun

NOT_SHOWN = {
    "run_pipeline",
    "stream_behaviors",
    "make_views",
    "promote",
    "check_lakehouse",
    "parse_ebnerd",
    "import_table",
}
PROJECT = Path(__file__).parent.parent.parent
ENCODER: dict[str, Option] = {"encoder": "some-model", "max_tokens": 100}
RUNS = {
    "streams": streams(ENCODER, kafka="kafka:9092", topics=("articles", "events")),
    "hourly": hourly(ENCODER, hour="2019-11-15T12"),
    "checks": checks(webhook="https://chat/hook"),
    "daily": daily(ENCODER, as_of="2019-11-15"),
    "weekly": weekly(ENCODER, as_of="2019-11-15"),
    "sample": sample_run("/sample", {"articles": 500}, ENCODER, {"seed": 1, "epochs": None}, 1, whole=True),
    "story": sample_run("/sample", {"articles": 500}, ENCODER, {"seed": 1, "epochs": None}, 1),
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


@pytest.mark.parametrize("name", sorted(set(RUNS) - {"checks"}))
def test_every_job_that_encodes_is_given_the_same_encoder(name: str) -> None:
    encoding = [task for task in RUNS[name] if "pooling" in defaults_of(task.job)]
    assert encoding
    for task in encoding:
        assert {option: task.options[option] for option in ENCODER} == ENCODER
        assert task.machine == "gpu"


def test_the_sample_shows_every_job() -> None:
    jobs = {path.stem for path in (PROJECT / "jobs").glob("*.py")} - NOT_SHOWN
    assert {task.job.__name__ for task in RUNS["sample"]} == jobs


def test_the_scheduled_runs_are_parts_of_the_sample() -> None:
    scheduled = {
        (task.job, task.machine) for name in ("streams", "hourly", "daily", "weekly") for task in RUNS[name]
    }
    assert {(job, machine) for job, machine in scheduled if job.__name__ not in NOT_SHOWN} <= {
        (task.job, task.machine) for task in RUNS["sample"]
    }


def test_the_story_is_a_part_of_the_sample_in_the_same_order() -> None:
    story, whole = ({task.key: task for task in RUNS[name]} for name in ("story", "sample"))
    # The one day that is served is another.
    same = [key for key in story if not key.startswith("export_served")]
    assert same == [key for key in whole if key in story]
    for key in same:
        assert story[key].job is whole[key].job
        assert before(RUNS["story"], key) >= before(RUNS["sample"], key) & set(same), key
    assert story["rank_newsfeed"].options == whole["rank_newsfeed"].options
    kinds = {task.job.__name__ for task in story.values()}
    assert {
        "train_recommender",
        "train_ranker",
        "reclassify_short_text",
        "export_vectors",
        "build_user_vectors",
        "write_report",
    } <= kinds


def test_who_waited_for_what_is_left_out_waits_for_what_came_before_it() -> None:
    tasks = [
        Task(a_job, key="a"),
        Task(a_job, {}, ("a",), "b"),
        Task(a_job, {}, ("b",), "c"),
        Task(a_job, {}, ("c", "a"), "d"),
    ]
    assert [(task.key, task.after) for task in without(tasks, {"b", "c"})] == [("a", ()), ("d", ("a",))]
    assert without(tasks, set()) == tasks


def before(tasks: list[Task], key: str) -> set[str]:
    """Keys of all that a task waits for, directly or not."""
    [task] = [task for task in tasks if task.key == key]
    return set(task.after).union(*(before(tasks, other) for other in task.after))


def test_what_the_vote_finds_is_learnt_and_used_in_the_same_week() -> None:
    tasks = {task.key: task for task in RUNS["weekly"]}
    assert [
        task.options.get("trained_on", "long")
        for task in tasks.values()
        if task.job.__name__ == "train_text_classifier"
    ] == [
        "long",
        "short",
    ]
    assert {"train_text_classifier", "reclassify_short_text"} <= before(
        RUNS["weekly"], "train_text_classifier_short"
    )
    for key in tasks:
        if key.startswith("train_recommender"):
            assert {"reclassify_short_text", "train_text_classifier_short", "classify_articles"} <= before(
                RUNS["weekly"], key
            )
    for day in ("2019-11-14", "2019-11-15"):
        assert "classify_articles" in before(RUNS["sample"], f"build_profiles {day}")


def test_each_hour_classifies_what_is_new_and_holds_up_nothing_else() -> None:
    assert RUNS["hourly"][-1].key == "classify_articles"
    assert before(RUNS["hourly"], "classify_articles") == {"encode_articles"}
    assert not any("classify_articles" in task.after for task in RUNS["hourly"])


def test_the_ranker_is_trained_before_the_feed_that_it_ranks_and_on_nothing_of_its_day() -> None:
    tasks = {task.key: task for task in RUNS["sample"]}
    assert "train_ranker" in before(RUNS["sample"], "rank_newsfeed")
    assert tasks["rank_newsfeed"].options["hour"] == f"{tasks['train_ranker'].options['as_of']}T12"
    assert before(RUNS["weekly"], "train_ranker") >= {"build_article_vectors", "encode_articles"}


def test_options_as_arguments() -> None:
    options: dict[str, Option] = {
        "as_of": "2019-11-15",
        "names": ["a", "b c"],
        "force": True,
        "replace": False,
        "epochs": None,
        "share": 0.5,
    }
    assert arguments_of(options) == [
        "--as-of=2019-11-15",
        "--names=a",
        "--names=b c",
        "--force",
        "--no-replace",
        "--share=0.5",
    ]
    assert job_options(a_job, arguments_of({"names": ["a", "b c"], "force": True})) == {
        "names": ["a", "b c"],
        "force": True,
    }
    assert job_options(a_job, arguments_of({"force": False})) == {"force": False}


def test_an_order_that_cannot_run_is_refused() -> None:
    first, second = Task(a_job, key="first"), Task(a_job, {"force": True}, ("first",), "second")
    assert checked([first, second]) == [first, second]
    with pytest.raises(ValueError, match="second waits for first"):
        checked([second, first])
    with pytest.raises(ValueError, match="two tasks are called first"):
        checked([first, first])
    assert [(task.key, task.after) for task in named([first, second], " 1")] == [
        ("first 1", ()),
        ("second 1", ("first 1",)),
    ]
