"""reclassify_short_text and rank_newsfeed killed with SIGKILL: a rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.search.newsfeed import rank_newsfeed
from newslake.search.reclassify import reclassify_short_text
from tests.killing import Undisturbed, arguments_of, commits, content, data_files, kill_job, moments, undisturbed_run
from tests.search import frames, test_newsfeed, test_reclassify

Moment = Callable[[Path], bool]
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
FEED_OPTIONS: dict[str, Any] = {"hour": "2019-11-15T08", "per_vector": 3, "feed_size": 4}
FEED_TABLES = ("newsfeed", "article_ctr")


def rerun(lake: Lakehouse, job: Callable[..., None], options: dict[str, Any]) -> None:
    """A run that nobody kills."""
    job(lake, JobRun(job.__name__), **options)


@pytest.fixture(scope="module")
def voted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A vote that nobody disturbed."""
    folder = tmp_path_factory.mktemp("vote")
    return undisturbed_run(
        spark,
        folder,
        lambda lake: frames.fill(lake, test_reclassify.SHORT),
        lambda lake: rerun(lake, reclassify_short_text, VOTE_OPTIONS),
    )


@pytest.fixture(scope="module")
def ranked(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Feeds that nobody disturbed."""
    folder = tmp_path_factory.mktemp("feed")
    return undisturbed_run(spark, folder, test_newsfeed.fill, lambda lake: rerun(lake, rank_newsfeed, FEED_OPTIONS))


def check(
    lake: Lakehouse,
    undisturbed: Undisturbed,
    tmp_path: Path,
    moment: Moment,
    job: Callable[..., None],
    options: dict[str, Any],
    tables: Sequence[str],
) -> None:
    """Kill a run at the moment; what it wrote is readable, and a rerun completes it to what an undisturbed run makes."""
    root, log = undisturbed.begin(lake), tmp_path / "log"
    killed = kill_job(job.__name__, "--lakehouse", str(root), *arguments_of(options), when=lambda: moment(root), log=log)
    assert killed, f"ended undisturbed: {log.read_text()[-2000:]}"
    for table in tables:
        assert not lake.exists(table) or lake.read(table).count() >= 0
    rerun(lake, job, options)
    expected = [content(undisturbed.lake.read(table)) for table in tables]
    assert [content(lake.read(table)) for table in tables] == expected
    assert all(rows for rows, _ in expected)


@pytest.mark.parametrize("moment", moments(VOTE, quick="votes committed, corpus not"))
def test_vote_killed_at_any_moment(lake: Lakehouse, voted: Undisturbed, tmp_path: Path, moment: str) -> None:
    check(lake, voted, tmp_path, VOTE[moment], reclassify_short_text, VOTE_OPTIONS, VOTE_TABLES)


@pytest.mark.parametrize("moment", moments(FEED, quick="rates committed, feeds not"))
def test_newsfeed_killed_at_any_moment(lake: Lakehouse, ranked: Undisturbed, tmp_path: Path, moment: str) -> None:
    check(lake, ranked, tmp_path, FEED[moment], rank_newsfeed, FEED_OPTIONS, FEED_TABLES)
