"""reclassify_short_text and rank_newsfeed killed with SIGKILL: a rerun makes the tables of a run that nobody
disturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.run.jobrun import JobRun
from newslake.search.reclassify import reclassify_short_text
from tests.calling import call
from tests.killing import arguments_of, commits, data_files
from tests.ranking import test_newsfeed
from tests.search import frames, test_reclassify
from tests.undisturbed import Moment, Undisturbed, content_of, kill_and_rerun, undisturbed_run

VOTE: dict[str, Moment] = {
    "searching": lambda root: any((root / "_scratch").glob("*/short/_SUCCESS")),
    "votes written, not committed": lambda root: data_files(root / "short_text_votes") > 0,
    "votes committed, corpus not": lambda root: commits(root / "short_text_votes") >= 2,
}
FEED: dict[str, Moment] = {
    "rates written, not committed": lambda root: data_files(root / "article_ctr") > 0,
    "rates committed, feeds not": lambda root: commits(root / "article_ctr") >= 2,
    "feeds written, not committed": lambda root: data_files(root / "newsfeed") > 0,
}


VOTE_OPTIONS, VOTE_TABLES = test_reclassify.OPTIONS, ("short_text_votes", "short_text_corpus")
FEED_OPTIONS, FEED_TABLES = test_newsfeed.OPTIONS, ("newsfeed", "article_ctr")


def rerun(lake: Lakehouse, job: Callable[..., None], options: dict[str, Any]) -> None:
    """A run that nobody kills."""
    call(job, lake, JobRun(job.__name__), **options)


@pytest.fixture(scope="module")
def voted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A vote that nobody disturbed."""
    folder = tmp_path_factory.mktemp("vote")
    return undisturbed_run(
        spark,
        folder,
        lambda lake: frames.fill(lake, test_reclassify.SHORT),
        lambda lake: rerun(lake, reclassify_short_text, VOTE_OPTIONS),
        content_of(*VOTE_TABLES),
    )


@pytest.fixture(scope="module")
def ranked(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Feeds that nobody disturbed."""
    folder = tmp_path_factory.mktemp("feed")
    look = content_of(*FEED_TABLES)
    return undisturbed_run(
        spark, folder, test_newsfeed.fill, lambda lake: rerun(lake, rank_newsfeed, FEED_OPTIONS), look
    )


def check(
    lake: Lakehouse,
    undisturbed: Undisturbed,
    tmp_path: Path,
    moments: dict[str, Moment],
    job: Callable[..., None],
    options: dict[str, Any],
) -> None:
    """Kill a run at each moment in turn; a rerun completes it to what an undisturbed run makes."""
    kill_and_rerun(undisturbed, lake, moments, (job.__name__, arguments_of(options)), tmp_path)
    assert all(rows for rows, _ in undisturbed.after.values())


@pytest.mark.slow
def test_vote_killed(lake: Lakehouse, voted: Undisturbed, tmp_path: Path) -> None:
    check(lake, voted, tmp_path, VOTE, reclassify_short_text, VOTE_OPTIONS)


@pytest.mark.slow
def test_newsfeed_killed(lake: Lakehouse, ranked: Undisturbed, tmp_path: Path) -> None:
    check(lake, ranked, tmp_path, FEED, rank_newsfeed, FEED_OPTIONS)
