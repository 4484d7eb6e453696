"""export_vectors killed with SIGKILL: its rerun leaves Milvus and vector_exports as a run that nobody
disturbed."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.serving.job import export_vectors
from newslake.serving.stores.limits import Limits
from newslake.serving.stores.milvus.client import default_uri
from newslake.serving.stores.sync import TABLE
from tests.calling import call
from tests.killing import arguments_of, commits
from tests.serving.rows import USERS, article_vectors, held, user_vectors
from tests.tables import put
from tests.undisturbed import Moment, Undisturbed, kill_and_rerun

ARTICLES = [(f"N{n:03}", f"2019-11-{10 + n % 10}", f"text {n}") for n in range(60)]
CHANGED = [(f"N{n:03}", f"2019-11-{10 + n % 10}", f"another text {n}") for n in range(50, 60)]
OPTIONS = {"batch_rows": 5, "slice_rows": 20}

# An export writes vector_exports four times (60 articles of ten days, three days a slice) after it is made,
# and once for the users.
MOMENTS: dict[str, Moment] = {
    "collection made": lambda root: (root / "_milvus" / "newslake.db").exists(),
    "vector_exports created, first slice on its way": lambda root: commits(root / TABLE) >= 1,
    "two slices noted": lambda root: commits(root / TABLE) >= 3,
    "articles done": lambda root: commits(root / TABLE) >= 5,
}


def what_is_there(lake: Lakehouse) -> tuple[object, ...]:
    """What Milvus holds, and what vector_exports says."""
    noted = {(row.collection, row.item_id): row.inputs_hash for row in lake.read(TABLE).collect()}
    return held(default_uri(lake)), held(default_uri(lake), USERS), noted


def export(lake: Lakehouse) -> JobRun:
    """A run that nobody kills."""
    run = JobRun("export_vectors")
    call(export_vectors, lake, run, limits=Limits(batch_rows=60, slice_rows=60))
    return run


def fill(lake: Lakehouse, articles: list[tuple[str, str, str]]) -> None:
    """Vectors of these articles and of seven users."""
    put(lake, "article_vectors", article_vectors(lake, articles))
    put(lake, "user_vectors", user_vectors(lake, "2019-11-15", [(f"U{n}", 0, "p", 1.0) for n in range(7)]))


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The vectors before, and what is there after an export that nobody kills, of what the articles
    become."""
    folder = tmp_path_factory.mktemp("undisturbed")
    before, after = (Lakehouse(spark, str(folder / name)) for name in ("before", "after"))
    fill(before, ARTICLES)
    fill(after, [*ARTICLES[1:50], *CHANGED])
    export(after)
    return Undisturbed(folder / "before", what_is_there, what_is_there(after), rerun)


def left(lake: Lakehouse) -> None:
    """What a kill leaves can be read."""
    assert not lake.exists(TABLE) or lake.read(TABLE).count() <= len(ARTICLES) + 7


def rerun(lake: Lakehouse) -> None:
    """Some articles change and one goes; then a run that nobody kills."""
    put(lake, "article_vectors", article_vectors(lake, CHANGED))
    lake.delete("article_vectors", f"news_id = '{ARTICLES[0][0]}'")
    assert export(lake).rows_written[TABLE] < len(ARTICLES) + 7, "what was noted is not sent again"


@pytest.mark.slow
def test_killed(lake: Lakehouse, undisturbed: Undisturbed, tmp_path: Path) -> None:
    command = ("export_vectors", arguments_of(OPTIONS))
    kill_and_rerun(undisturbed, lake, MOMENTS, command, tmp_path, left=left)
