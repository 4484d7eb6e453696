"""parse_behaviors killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind.parse import parse_behaviors
from tests.killing import commits, content, data_files, kill_job

TABLES = ("news", "impressions", "click_history", "quarantine")
SPLITS = ("train", "dev")

Moment = Callable[[Path], bool]
MOMENTS: dict[str, Moment] = {
    "tables created": lambda lakehouse: commits(lakehouse / "impressions") == 1,
    "lines in quarantine, nothing else": lambda lakehouse: commits(lakehouse / "quarantine") == 2,
    "files of impressions written, not committed": lambda lakehouse: data_files(lakehouse / "impressions") > 0,
    "impressions of train committed": lambda lakehouse: commits(lakehouse / "impressions") == 2,
    "all but news committed": lambda lakehouse: commits(lakehouse / "click_history") == 1 + len(SPLITS),
}


def mind_files(folder: Path) -> list[str]:
    """Options for two splits with repeated, contradicting and broken lines of both kinds; where their folders are."""
    for split, day in zip(SPLITS, (11, 15), strict=True):
        (folder / split).mkdir(parents=True)
        news = [f"N{i}\tsports\tsoccer\tTitle {i}\t\thttps://news.example/N{i}\t[]\t[]" for i in range(0 if split == "train" else 40, 80)]
        news += ["N1\tsports", news[0], news[1].replace("Title", "Headline")]
        lines = [
            f"{i}\tU{i % 17}\t11/{day}/2019 {1 + i % 12}:03:52 PM\t{'' if i % 5 == 0 else f'N{i % 80} N{i % 7}'}\t"
            + " ".join(f"N{(i * 7 + place) % 90}-{int(place == i % 6)}" for place in range(6))
            for i in range(300)
        ]
        lines += [lines[7], lines[8].replace("-1", "-0"), "no\ttime", lines[9] + " N1"]
        (folder / split / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
        (folder / split / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [option for split in SPLITS for option in (f"--{split}", str(folder / split))]


def parse(lake: Lakehouse, folder: Path) -> JobRun:
    """An undisturbed run."""
    run = JobRun("parse_behaviors")
    parse_behaviors(lake, run, train=[str(folder / "train")], dev=[str(folder / "dev")])
    return run


@dataclass(frozen=True)
class Expected:
    """What a run that nobody disturbed reports and leaves.

    Attributes:
        mind: the folder of its files.
        options: a job's options for them.
        run: its own report.
        tables: count and hash of each table.
    """

    mind: Path
    options: list[str]
    run: JobRun
    tables: dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def expected(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """A run that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    options, lake = mind_files(folder / "mind"), Lakehouse(spark, str(folder / "lakehouse"))
    run = parse(lake, folder / "mind")
    return Expected(folder / "mind", options, run, {table: content(lake.read(table)) for table in TABLES})


def check_kill(lake: Lakehouse, expected: Expected, tmp_path: Path, moment: Moment) -> None:
    """Kill a run at the moment; what it leaves can be read; a rerun completes it, and one more changes nothing."""
    root, log = Path(str(lake.root)), tmp_path / "log"
    killed = kill_job("parse_behaviors", "--lakehouse", str(root), *expected.options, when=lambda: moment(root), log=log)
    assert killed, f"ended undisturbed: {log.read_text()[-2000:]}"
    left = {table: content(lake.read(table)) for table in TABLES if lake.exists(table)}
    assert left != expected.tables, "killed too late to show anything"
    rerun, wanted = parse(lake, expected.mind), expected.run
    assert {table: content(lake.read(table)) for table in TABLES} == expected.tables
    assert (rerun.rows_read, rerun.rows_rejected, rerun.facts) == (wanted.rows_read, wanted.rows_rejected, wanted.facts)
    for table, key in (("impressions", ["split", "impression_id", "position"]), ("click_history", ["split", "impression_id"])):
        assert lake.read(table).groupBy(*key).count().where("count > 1").isEmpty()


def test_killed_between_impressions_and_history(lake: Lakehouse, expected: Expected, tmp_path: Path) -> None:
    check_kill(lake, expected, tmp_path, MOMENTS["impressions of train committed"])


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(lake: Lakehouse, expected: Expected, tmp_path: Path, moment: str) -> None:
    check_kill(lake, expected, tmp_path, MOMENTS[moment])
