"""run_pipeline --from --to: each day once and in order, taken up where it was cut off."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from newslake.errors import JobFailed
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline import run as module
from newslake.pipeline.plan import Task
from newslake.pipeline.run import run_pipeline
from newslake.pipeline.runs import daily, readers
from newslake.run.cli import main, run_job
from newslake.run.jobrun import JobRun
from newslake.text.articles import encode_articles
from newslake.topics.fit import fit_topics
from tests.killing import commits, content, kill_job
from tests.pipeline.test_topic_switch import publish, read
from tests.text.conftest import save_bert
from tests.topics.conftest import FIT, SUBJECTS

CALLS: list[str] = []
FAILING: set[str] = set()


def making_job(lake: Lakehouse, run: JobRun, *, as_of: str, encoder: str = "") -> None:
    """Make tables of a day.

    Args:
        as_of: The day.
        encoder: With what.
    """
    CALLS.append(f"make {as_of[-2:]}")
    run.wrote("news", 2)


def middle_job(lake: Lakehouse, run: JobRun, *, as_of: str) -> None:
    """Go on with a day, or fail.

    Args:
        as_of: The day.
    """
    CALLS.append(f"middle {as_of[-2:]}")
    if as_of in FAILING:
        raise JobFailed("the power went")


def telling_job(lake: Lakehouse, run: JobRun, *, as_of: str) -> None:
    """Tell the world of a day.

    Args:
        as_of: The day.
    """
    CALLS.append(f"tell {as_of[-2:]}")


@pytest.fixture
def _two_jobs_a_day(lake: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily run of two jobs that make tables and one that tells the world."""

    def made(encoder: dict[str, Any], *, as_of: str) -> list[Task]:
        options = {"as_of": as_of, **encoder}
        return [Task(making_job, options), Task(middle_job, {"as_of": as_of}, ("making_job",))]

    monkeypatch.setattr(module, "readers", made)
    monkeypatch.setattr(
        module,
        "daily",
        lambda encoder, *, as_of: [*made(encoder, as_of=as_of), Task(telling_job, {"as_of": as_of})],
    )
    lake.create("news")
    CALLS.clear()
    FAILING.clear()


def going(lake: Lakehouse, last: str = "2019-11-14", **options: Any) -> list[str]:
    """The jobs that a backfill from the 12th runs."""
    CALLS.clear()
    run_job(run_pipeline, lake, {"from_day": "2019-11-12", "to_day": last, **options})
    return list(CALLS)


@pytest.mark.usefixtures("_two_jobs_a_day")
def test_a_broken_backfill_goes_on_with_the_first_day_that_is_not_complete(
    lake: Lakehouse, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "newslake")
    FAILING.add("2019-11-13")
    with pytest.raises(JobFailed, match="middle_job: the power went"):
        going(lake)
    assert CALLS == ["make 12", "middle 12", "make 13", "middle 13"]
    said = capsys.readouterr().out
    assert "1 of 3 days are complete, 1 of them since now" in said
    assert (
        "Stopped at middle_job of 2019-11-13: JobFailed: the power went\nThe same command goes on from there."
        in said
    )
    FAILING.clear()
    caplog.clear()
    assert going(lake) == ["middle 13", "make 14", "middle 14", "tell 14"], "the last day alone is told of"
    assert "3 of 3 days are complete, 2 of them since now" in capsys.readouterr().out
    days = [
        record.getMessage().split("  ")[-1] for record in caplog.records if "[day " in record.getMessage()
    ]
    assert [re.sub(r"\d+\.\d s$", "", day) for day in days] == [
        "[day 1/3] 2019-11-12: complete before, 2 jobs",
        "[day 2/3] 2019-11-13: complete, 1 jobs done, 1 before, 0 rows, ",
        "[day 3/3] 2019-11-14: complete, 3 jobs done, 0 before, 2 rows, ",
    ]
    assert going(lake) == []
    runs = lake.read("job_runs").where("job = 'run_pipeline' AND outcome = 'done'").collect()
    pipelines = sorted(row["facts"]["pipeline"] for row in runs)
    assert pipelines == ["backfill 2019-11-12 to 2019-11-14"] * 2 + [
        "daily 2019-11-12, tables",
        "daily 2019-11-13, tables",
        "daily 2019-11-14",
    ]


@pytest.mark.usefixtures("_two_jobs_a_day")
def test_days_are_left_out_where_a_run_with_the_same_options_did_them(lake: Lakehouse) -> None:
    run_job(run_pipeline, lake, {"pipeline": "daily", "as_of": "2019-11-13"})
    assert going(lake, "2019-11-13") == ["make 12", "middle 12"]
    assert going(lake, "2019-11-12", encoder="other") == ["make 12", "middle 12", "tell 12"]
    assert going(lake, "2019-11-12", encoder="other", again=True) == ["make 12", "middle 12", "tell 12"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to=2019-11-15"], "--to needs --from, the first day of the backfill"),
        (["--from=2019-11-15", "--to=2019-11-14"], "--from 2019-11-15 is after --to 2019-11-14"),
        (["--from=yesterday"], "--from takes a day such as 2019-11-15, not 'yesterday'"),
        (["--from=2019-11-15", "--to=2999-01-01"], "--to 2999-01-01 is in the future: today is"),
        (
            ["--from=2019-11-15", "--pipeline=weekly"],
            "--from does the daily run of several days: it goes with no other --pipeline",
        ),
        (
            ["--from=2019-11-15", "--as-of=2019-11-15"],
            "--from does the daily run of several days: it goes with no other --pipeline",
        ),
    ],
)
def test_a_mistake_is_one_line(
    lake: Lakehouse, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(run_pipeline, [f"--lakehouse={lake.root}", *options])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"run_pipeline: {said}")


def test_without_a_last_day_it_goes_to_the_present_one() -> None:
    today = datetime.now(UTC).date()
    days = module.days_between(str(today - timedelta(days=2)), None)
    assert days[-1] in (today, datetime.now(UTC).date())
    assert days[:3] == [today - timedelta(days=n) for n in (2, 1, 0)]


def test_what_is_made_each_day_is_the_beginning_of_the_daily_run() -> None:
    made, whole = (tasks({}, as_of="2019-11-15") for tasks in (readers, daily))
    assert whole[: len(made)] == made
    assert {"export_candidate", "purge_news", "write_report"} <= {task.key for task in whole[len(made) :]}


TABLES = ("user_tags", "user_topics", "user_phrases", "tag_phrases", "tag_phrase_matches", "user_vectors")


@pytest.mark.slow
def test_a_killed_backfill_run_again_leaves_what_an_undisturbed_one_does(
    lake: Lakehouse, tmp_path: Path
) -> None:
    model = str(save_bert(tmp_path / "bert", layers=1, width=16, heads=2, seed=1))
    publish(lake, [(subject, n, f"2019-11-1{n} 08:00:00") for subject in SUBJECTS for n in range(3)])
    for day in (11, 12, 13):
        read(lake, f"2019-11-{day} 10:00:00")
    run_job(encode_articles, lake, {"encoder": model, "device": "cpu"})
    run_job(fit_topics, lake, {**FIT, "min_articles": 1})
    other = Lakehouse(lake.spark, str(tmp_path / "other"))
    root = Path(str(lake.root))
    shutil.copytree(root, str(other.root))
    asked = {"from_day": "2019-11-12", "to_day": "2019-11-14", "encoder": model}
    run_job(run_pipeline, other, asked)
    command = ["--lakehouse", str(root), "--from=2019-11-12", "--to=2019-11-14", f"--encoder={model}"]
    log = tmp_path / "log"
    # Two tables of the second day are written.
    assert kill_job("run_pipeline", *command, when=lambda: commits(root / "user_phrases") >= 3, log=log)
    run_job(run_pipeline, lake, asked)
    told = lake.read("job_runs").where("job = 'build_profiles'").collect()
    assert sorted(row["settings"]["as_of"] for row in told) == ["2019-11-12", "2019-11-13", "2019-11-14"], (
        "no day's profiles were made twice"
    )
    for table in TABLES:
        found, wanted = (content(each.read(table)) for each in (lake, other))
        assert found == wanted, table
        assert found[0] > 0, table
