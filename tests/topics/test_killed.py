"""fit_topics, assign_topics and build_article_vectors killed with SIGKILL: a rerun makes the tables of
undisturbed runs."""

import shutil
from collections.abc import Callable
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from tests.killing import arguments_of, commits, data_files
from tests.topics.conftest import FIT, articles, write_news
from tests.topics.test_article_vectors import embed
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

# Two by the first job, one by each other.
TABLES = ("topics", "topic_terms", "article_topics", "article_vectors")
JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job for job in (fit_topics, assign_topics, build_article_vectors)
}
SLICE_ROWS = 12  # three slices of vectors
MOMENTS: dict[str, dict[str, Moment]] = {
    "fit_topics": {
        "tables created": lambda root: commits(root / "topics") == 1,
        "terms committed, topics not": lambda root: commits(root / "topic_terms") == 2,
    },
    "assign_topics": {
        "files written, not committed": lambda root: data_files(root / "article_topics") > 0,
        "committed": lambda root: commits(root / "article_topics") == 2,
    },
    "build_article_vectors": {
        "files of the first slice written": lambda root: data_files(root / "article_vectors") > 0,
        "one slice committed": lambda root: commits(root / "article_vectors") == 2,
        "last slice committed": lambda root: commits(root / "article_vectors") == 4,
    },
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


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Undisturbed]:
    """For each job, a run that nobody kills, on what such a run of the job before it left."""
    folder = tmp_path_factory.mktemp("topics")

    @cache
    def up_to(job: str) -> Undisturbed:
        earlier = tuple(takewhile(lambda name: name != job, JOBS))

        def fill(lake: Lakehouse) -> None:
            if earlier:
                up_to(earlier[-1])
                shutil.copytree(folder / earlier[-1] / "after", str(lake.root))
            else:
                write_news(lake, articles(10))
                embed(lake)

        look = content_of(*TABLES[: 2 + len(earlier)], without=["fitted_at"])
        return undisturbed_run(spark, folder / job, fill, lambda lake: run(lake, job), look)

    return up_to


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_killed_at_each_moment_in_turn(
    lake: Lakehouse, undisturbed: Callable[[str], Undisturbed], tmp_path: Path, job: str
) -> None:
    kill_and_rerun(undisturbed(job), lake, MOMENTS[job], (job, arguments_of(options(job))), tmp_path)
