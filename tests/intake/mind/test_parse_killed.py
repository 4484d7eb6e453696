"""parse_behaviors killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from tests.killing import commits, content, data_files
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

TABLES = ("news", "impressions", "click_history", "quarantine")
SPLITS = ("train", "dev")

MOMENTS: dict[str, Moment] = {
    "tables created": lambda lakehouse: commits(lakehouse / "impressions") == 1,
    "lines in quarantine, nothing else": lambda lakehouse: commits(lakehouse / "quarantine") == 2,
    "files of impressions written, not committed": lambda lakehouse: (
        data_files(lakehouse / "impressions") > 0
    ),
    "impressions of train committed": lambda lakehouse: commits(lakehouse / "impressions") == 2,
    "all but news committed": lambda lakehouse: commits(lakehouse / "click_history") == 1 + len(SPLITS),
}


@pytest.fixture(scope="module")
def mind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each split, with repeated, contradicting and broken lines of both kinds."""
    folder = tmp_path_factory.mktemp("mind")
    for split, day in zip(SPLITS, (11, 15), strict=True):
        (folder / split).mkdir(parents=True)
        news = [
            f"N{i}\tsports\tsoccer\tTitle {i}\t\thttps://news.example/N{i}\t[]\t[]"
            for i in range(0 if split == "train" else 40, 80)
        ]
        news += ["N1\tsports", news[0], news[1].replace("Title", "Headline")]
        lines = [
            f"{i}\tU{i % 17}\t11/{day}/2019 {1 + i % 12}:03:52"
            f" PM\t{'' if i % 5 == 0 else f'N{i % 80} N{i % 7}'}\t"
            + " ".join(f"N{(i * 7 + place) % 90}-{int(place == i % 6)}" for place in range(6))
            for i in range(300)
        ]
        lines += [lines[7], lines[8].replace("-1", "-0"), "no\ttime", lines[9] + " N1"]
        (folder / split / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
        (folder / split / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def parse(lake: Lakehouse, folder: Path) -> JobRun:
    """One run, in the test's session."""
    run = JobRun("parse_behaviors")
    parse_behaviors(lake, run, train=[str(folder / "train")], dev=[str(folder / "dev")])
    return run


def report(run: JobRun) -> tuple[int | None, int, dict[str, str]]:
    """What a run says of its lines."""
    return run.rows_read, run.rows_rejected, run.facts


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, mind: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nobody kills; every other one must report the same."""
    reports = []

    def run(lake: Lakehouse) -> None:
        reports.append(report(parse(lake, mind)))
        assert reports[-1] == reports[0]

    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed_run(spark, folder, lambda lake: Path(str(lake.root)).mkdir(), run, content_of(*TABLES))


def check_kills(
    lake: Lakehouse, undisturbed: Undisturbed, mind: Path, logs: Path, moments: Mapping[str, Moment]
) -> None:
    """Kill a run at each moment in turn; what each leaves can be read, and the last run completes it."""

    def left(lake: Lakehouse) -> None:
        there = {table: content(lake.read(table)) for table in TABLES if lake.exists(table)}
        assert there != undisturbed.after, "killed too late to show anything"

    options = [option for split in SPLITS for option in (f"--{split}", str(mind / split))]
    kill_and_rerun(undisturbed, lake, moments, ("parse_behaviors", options), logs, left=left)
    for table, key in (
        ("impressions", ["split", "impression_id", "position"]),
        ("click_history", ["split", "impression_id"]),
    ):
        assert lake.read(table).groupBy(*key).count().where("count > 1").isEmpty()


def test_killed_between_impressions_and_history(
    lake: Lakehouse, undisturbed: Undisturbed, mind: Path, tmp_path: Path
) -> None:
    moment = "impressions of train committed"
    check_kills(lake, undisturbed, mind, tmp_path, {moment: MOMENTS[moment]})


@pytest.mark.slow
def test_killed_at_each_moment_in_turn(
    lake: Lakehouse, undisturbed: Undisturbed, mind: Path, tmp_path: Path
) -> None:
    check_kills(lake, undisturbed, mind, tmp_path, MOMENTS)
