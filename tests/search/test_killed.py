"""reclassify_short_text and rank_newsfeed killed with SIGKILL: a rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.search.newsfeed import rank_newsfeed
from newslake.search.reclassify import reclassify_short_text
from tests.killing import arguments_of, commits, content, data_files, kill_job, moments
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


def check(
    lake: Lakehouse,
    tmp_path: Path,
    moment: Moment,
    fill: Callable[[Lakehouse], None],
    job: Callable[..., None],
    options: dict[str, Any],
    tables: Sequence[str],
) -> None:
    """Kill a run at the moment; what it wrote is readable, and a rerun completes it to what an undisturbed run makes."""
    undisturbed = Lakehouse(lake.spark, str(tmp_path / "undisturbed"))
    for each in (lake, undisturbed):
        fill(each)
    name, root, log = job.__name__, Path(str(lake.root)), tmp_path / "log"
    job(undisturbed, JobRun(name), **options)
    killed = kill_job(name, "--lakehouse", str(root), *arguments_of(options), when=lambda: moment(root), log=log)
    assert killed, f"ended undisturbed: {log.read_text()[-2000:]}"
    for table in tables:
        assert not lake.exists(table) or lake.read(table).count() >= 0
    job(lake, JobRun(name), **options)
    expected = [content(undisturbed.read(table)) for table in tables]
    assert [content(lake.read(table)) for table in tables] == expected
    assert all(rows for rows, _ in expected)


def check_vote(lake: Lakehouse, tmp_path: Path, moment: Moment) -> None:
    options, tables = test_reclassify.OPTIONS, ("short_text_votes", "short_text_corpus")
    check(lake, tmp_path, moment, lambda each: frames.fill(each, test_reclassify.SHORT), reclassify_short_text, options, tables)


def check_feed(lake: Lakehouse, tmp_path: Path, moment: Moment) -> None:
    options = {"hour": "2019-11-15T08", "per_vector": 3, "feed_size": 4}
    check(lake, tmp_path, moment, test_newsfeed.fill, rank_newsfeed, options, ("newsfeed", "article_ctr"))


@pytest.mark.parametrize("moment", moments(VOTE, quick="votes committed, corpus not"))
def test_vote_killed_at_any_moment(lake: Lakehouse, tmp_path: Path, moment: str) -> None:
    check_vote(lake, tmp_path, VOTE[moment])


@pytest.mark.parametrize("moment", moments(FEED, quick="rates committed, feeds not"))
def test_newsfeed_killed_at_any_moment(lake: Lakehouse, tmp_path: Path, moment: str) -> None:
    check_feed(lake, tmp_path, FEED[moment])
