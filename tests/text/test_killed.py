"""encode_articles killed with SIGKILL: its rerun makes the tables of a run that nobody disturbed."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.text.articles import encode_articles
from tests.calling import call
from tests.killing import commits, content, data_files
from tests.text.conftest import UNEMBEDDED
from tests.text.test_articles import Article, write_news
from tests.undisturbed import Moment, Undisturbed, kill_and_rerun, undisturbed_run

FAILING = 3
# Four slices of texts, some of them of two articles; texts that fail, so that quarantine is written too.
ARTICLES: list[Article] = [(f"N{i:03}", f"news {i}", "the city " * (i % 40), None) for i in range(60)]
ARTICLES += [(f"C{i:03}", f"news {i}", "the city " * (i % 40), None) for i in range(0, 60, 6)]
ARTICLES += [(f"P{i:03}", f"{UNEMBEDDED} {i}", "", None) for i in range(FAILING)]
SLICE_ROWS = 16
SLICES = 4

MOMENTS: dict[str, Moment] = {
    "table created": lambda lakehouse: commits(lakehouse / "article_embeddings") == 1,
    "files of the first slice written, not committed": lambda lakehouse: (
        data_files(lakehouse / "article_embeddings") > 0
    ),
    "two slices committed": lambda lakehouse: commits(lakehouse / "article_embeddings") >= 3,
    "a rejected text in quarantine": lambda lakehouse: commits(lakehouse / "quarantine") >= 2,
    "last slice committed": lambda lakehouse: commits(lakehouse / "article_embeddings") == 1 + SLICES,
}


def tables(lake: Lakehouse) -> list[tuple[int, int]]:
    """What both tables hold, vectors to the last bit."""
    quarantine: DataFrame = lake.read("quarantine")
    return [content(lake.read("article_embeddings")), content(quarantine, without=["ingested_at"])]


def encode(lake: Lakehouse, model: Path) -> None:
    """An undisturbed run."""
    call(encode_articles, lake, JobRun("encode_articles"), encoder=str(model), slice_rows=SLICE_ROWS)


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession, gaps_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """A run that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return undisturbed_run(
        spark, folder, lambda lake: write_news(lake, ARTICLES), lambda lake: encode(lake, gaps_model), tables
    )


def left(lake: Lakehouse) -> None:
    """What a kill leaves is readable and holds no article twice."""
    if lake.exists("article_embeddings"):
        rows = lake.read("article_embeddings")
        assert rows.count() <= len(ARTICLES) - FAILING
        assert rows.groupBy("news_id", "encoder_id").count().where("count > 1").isEmpty()


def check_kills(
    lake: Lakehouse, undisturbed: Undisturbed, model: Path, logs: Path, moments: Mapping[str, Moment]
) -> None:
    """Kill a run at each moment in turn; the last run completes its tables."""
    options = ("--encoder", str(model), "--slice-rows", str(SLICE_ROWS))
    kill_and_rerun(undisturbed, lake, moments, ("encode_articles", options), logs, left=left)
    assert lake.read("article_embeddings").count() == len(ARTICLES) - FAILING
    assert lake.read("quarantine").agg(F.countDistinct("record_id")).head() == (FAILING,)


def test_killed_between_slices(
    lake: Lakehouse, undisturbed: Undisturbed, gaps_model: Path, tmp_path: Path
) -> None:
    moment = "two slices committed"
    check_kills(lake, undisturbed, gaps_model, tmp_path, {moment: MOMENTS[moment]})


@pytest.mark.slow
def test_killed_at_each_moment_in_turn(
    lake: Lakehouse, undisturbed: Undisturbed, gaps_model: Path, tmp_path: Path
) -> None:
    check_kills(lake, undisturbed, gaps_model, tmp_path, MOMENTS)
