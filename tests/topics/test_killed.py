"""fit_topics, assign_topics and build_article_vectors killed with SIGKILL: a rerun makes the tables of undisturbed runs."""

from collections.abc import Callable
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from tests.killing import Undisturbed, arguments_of, commits, content, data_files, kill_job, moments, undisturbed_run
from tests.topics.conftest import FIT, articles, write_news
from tests.topics.test_article_vectors import embed

TABLES = ("topics", "topic_terms", "article_topics", "article_vectors")
JOBS: dict[str, Callable[..., None]] = {job.__name__: job for job in (fit_topics, assign_topics, build_article_vectors)}
SLICE_ROWS = 12  # three slices of vectors
Moment = Callable[[Path], bool]
MOMENTS: dict[tuple[str, str], Moment] = {
    ("fit_topics", "tables created"): lambda root: commits(root / "topics") == 1,
    ("fit_topics", "terms committed, topics not"): lambda root: commits(root / "topic_terms") == 2,
    ("assign_topics", "files written, not committed"): lambda root: data_files(root / "article_topics") > 0,
    ("assign_topics", "committed"): lambda root: commits(root / "article_topics") == 2,
    ("build_article_vectors", "files of the first slice written"): lambda root: data_files(root / "article_vectors") > 0,
    ("build_article_vectors", "one slice committed"): lambda root: commits(root / "article_vectors") == 2,
    ("build_article_vectors", "last slice committed"): lambda root: commits(root / "article_vectors") == 4,
}


def options(job: str) -> dict[str, Any]:
    """The job's own options."""
    of: dict[str, dict[str, Any]] = {
        "fit_topics": FIT,
        "assign_topics": {"partitions": 2},
        "build_article_vectors": {"slice_rows": SLICE_ROWS},
    }
    return of[job]


def run(lake: Lakehouse, job: str) -> None:
    """One run of a job with its options."""
    JOBS[job](lake, JobRun(job), **options(job))


def tables(lake: Lakehouse) -> dict[str, tuple[int, int]]:
    """What the tables hold that are there, to the last bit."""
    return {table: content(lake.read(table), without=["fitted_at"]) for table in TABLES if lake.exists(table)}


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """For each job, a run that nobody kills, after those of the jobs before it."""

    @cache
    def up_to(job: str) -> Undisturbed:
        def fill(lake: Lakehouse) -> None:
            write_news(lake, articles(10))
            embed(lake)
            for earlier in takewhile(lambda name: name != job, JOBS):
                run(lake, earlier)

        return undisturbed_run(spark, tmp_path_factory.mktemp(job), fill, lambda lake: run(lake, job))

    return up_to


def check_kill(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path, job: str, moment: Moment) -> None:
    """Kill a run of the job at the moment; what is left is readable, and a rerun completes it."""
    root, log = undisturbed.begin(lake), tmp_path / "log"
    assert kill_job(job, "--lakehouse", str(root), *arguments_of(options(job)), when=lambda: moment(root), log=log), (
        f"ended undisturbed: {log.read_text()[-2000:]}"
    )
    left, wanted = tables(lake), tables(undisturbed.lake)
    assert set(left) <= set(wanted)
    for known in JOBS:
        run(lake, known)
        if known == job:
            break
    assert tables(lake) == wanted


@pytest.mark.parametrize(("job", "moment"), moments(MOMENTS, quick=("fit_topics", "terms committed, topics not")))
def test_killed_at_any_moment(lake: Lakehouse, undisturbed: Callable[[str], Undisturbed], tmp_path: Path, job: str, moment: str) -> None:
    check_kill(lake, undisturbed(job), tmp_path, job, MOMENTS[job, moment])
