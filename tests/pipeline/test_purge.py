"""purge_news: what leaves, what stays, what no later job brings back, and that a kill leaves nothing
half-served."""

import os
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.purge import needed, parse_horizon, purge_news
from newslake.run.jobrun import JobRun
from newslake.serving.export import export_articles
from newslake.serving.stores.milvus.client import default_uri
from newslake.switches.horizon import horizon
from newslake.topics.article_vectors import build_article_vectors
from tests.calling import call
from tests.killing import commits
from tests.pipeline.aged import DAYS, HORIZON, NEEDED, OLD, PER_ARTICLE, TODAY, counts, fill, ids
from tests.serving.rows import article_vectors, held
from tests.tables import put
from tests.undisturbed import Moment, Undisturbed, kill_and_rerun


def purge(lake: Lakehouse, **options: object) -> JobRun:
    """One purge, without the vacuum that most tests do not look at."""
    run = JobRun("purge_news")
    call(purge_news, lake, run, **{"older_than": HORIZON, "as_of": TODAY, "vacuum": False, **options})
    return run


@pytest.fixture(scope="module")
def aged(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with news of several ages and what is made from them."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("aged") / "lakehouse"))
    fill(lake)
    return Path(str(lake.root))


def test_old_news_leave_what_is_served_and_what_training_needs_stays(lake: Lakehouse, aged: Path) -> None:
    shutil.copytree(aged, str(lake.root))
    left = [
        Path(str(lake.root)) / name
        for name in ("_scratch/killed", "_scratch/running", "_feeds/_making_killed", "_feeds/mf-r1")
    ]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "file").touch()
        if folder.name != "running":
            os.utime(folder, (time.time() - 8 * 24 * 3600,) * 2)
    uses = {use: ids_of(needed(lake, use)) for use in ("shown", "read", "corpus", "scored")}
    assert uses == {
        "shown": {"shown", "clicked", "new", "history", "unknown"},
        "read": {"clicked", "history", "unknown"},
        "corpus": {"corpus"},
        "scored": {"scored", "new"},
    }
    run = purge(lake, vacuum=True)
    assert [folder.exists() for folder in left] == [False, True, False, True]
    served = set(DAYS) - OLD
    assert (
        held(default_uri(lake)).keys()
        == served
        == ids(lake, "article_vectors")
        == ids(lake, "vector_exports", "item_id")
    )
    stay = served | NEEDED
    assert {table: ids(lake, table) for table in PER_ARTICLE} == dict.fromkeys(PER_ARTICLE, stay)
    assert ids(lake, "article_class_scores") == {"new"}
    assert run.facts["old articles"] == str(len(OLD))
    assert run.facts["deleted from news"] == "3"
    assert horizon(lake) == date.fromisoformat(HORIZON)
    # Nothing that builds, exports or takes in brings them back, though some are in news with all that it
    # takes.
    build_article_vectors(lake, JobRun("test"))
    assert ids(lake, "article_vectors") == served
    # As if a job had been late.
    put(lake, "article_vectors", article_vectors(lake, [("shown", "2019-10-02", "shown")]))
    export_articles(lake, JobRun("test"), uri=default_uri(lake))
    assert held(default_uri(lake)).keys() == served
    # Again: nothing left but what came late.
    again = purge(lake)
    assert ids(lake, "article_vectors") == served
    assert again.facts["deleted from article_vectors"] == "1"
    assert again.facts["deleted from news"] == "0"


def ids_of(rows: DataFrame | None) -> set[str]:
    """The ids in a frame of a few rows."""
    assert rows is not None
    return {row[0] for row in rows.collect()}


def test_a_horizon_in_days_and_an_earlier_one_later(lake: Lakehouse) -> None:
    put(lake, "news", [{"news_id": "a", "published_at": "2019-11-09 00:00:00"}])
    purge(lake, older_than="10")
    assert horizon(lake) == date(2019, 11, 10)
    purge(lake, older_than="20")
    assert horizon(lake) == date(2019, 10, 31), "the latest purge counts, not the latest day"
    assert parse_horizon("0", date(2019, 11, 20)) == date(2019, 11, 20)
    for wrong, says in [
        ("soon", "a number of days"),
        ("-3", "a number of days"),
        ("2019-11-21", "still to come"),
        ("9" * 30, "a number of days"),
    ]:
        with pytest.raises(UserError, match=says):
            parse_horizon(wrong, date(2019, 11, 20))
    with pytest.raises(UserError, match="168 or more"):
        purge(lake, vacuum_hours=24)
    with pytest.raises(UserError, match="take 1 or more"):
        purge(lake, user_days=0)
    with pytest.raises(UserError, match="there is no such Milvus file"):
        purge(lake, uri=f"{lake.root}/nowhere.db")
    assert not Path(default_uri(lake)).exists(), "nothing was ever exported"


def test_other_tables_keep_what_their_settings_say(lake: Lakehouse) -> None:
    put(lake, "news", [{"news_id": "a"}])
    days = ("2019-10-01", "2019-10-10", "2019-11-01")
    for table, of_day in {
        "user_vectors": lambda day: {"as_of": day, "vector": [1.0]},
        "newsfeed": lambda day: {"hour": f"{day} 08:00:00", "rank": 1},
        "quarantine": lambda day: {"quarantine_id": day, "ingested_at": f"{day} 08:00:00"},
        "impressions": lambda day: {"split": day, "occurred_at": f"{day} 23:59:59"},
        "tag_phrases": lambda day: {
            "phrase_id": day,
            "encoder_id": "e",
            "tags": ["a"],
            "embedding": [1.0],
            "last_used": day,
        },
    }.items():
        put(lake, table, [*(of_day(day) for day in days)])
    match = {
        "phrase_id": "p",
        "encoder_id": "e",
        "source_id": "2019-10-01",
        "decision": "reused",
        "jaccard": 1.0,
    }
    put(lake, "tag_phrase_matches", [{"as_of": "2019-11-01", **match}])
    before = counts(lake)
    purge(lake)
    assert counts(lake) == before, "all off unless given"
    # 2019-11-20 less 41 days is 2019-10-10, which stays; less 5 days leaves the latest only, where it is what
    # is served.
    purge(lake, user_days=41, newsfeed_days=5, quarantine_days=41, behavior_days=5, tag_phrase_days=41)
    assert {str(row[0]) for row in lake.read("user_vectors").select("as_of").collect()} == {
        "2019-10-10",
        "2019-11-01",
    }
    assert {str(row[0]) for row in lake.read("newsfeed").select("hour").collect()} == {"2019-11-01 08:00:00"}
    assert ids(lake, "quarantine", "quarantine_id") == {"2019-10-10", "2019-11-01"}
    assert lake.read("impressions").count() == 0
    assert ids(lake, "tag_phrases", "phrase_id") == {"2019-10-01", "2019-10-10", "2019-11-01"}, (
        "a day that is there takes its vector from it"
    )
    purge(lake, tag_phrase_days=5)
    assert ids(lake, "tag_phrases", "phrase_id") == {"2019-10-01"}


YOUNG = set(DAYS) - OLD
MOMENTS: dict[str, Moment] = {
    "horizon written": lambda root: commits(root / "purges") >= 2,
    "out of Milvus": lambda root: commits(root / "vector_exports") >= 3,
    "out of article_vectors": lambda root: commits(root / "article_vectors") >= 3,
    "embeddings deleted, news still there": lambda root: commits(root / "article_embeddings") >= 3,
    "news deleted": lambda root: commits(root / "news") >= 3,
}


def what_is_there(lake: Lakehouse) -> dict[str, set[str]]:
    """The articles in Milvus and in each table."""
    there = {table: ids(lake, table) for table in ("article_vectors", *PER_ARTICLE)}
    return {
        "Milvus": set(held(default_uri(lake))),
        "vector_exports": ids(lake, "vector_exports", "item_id"),
        **there,
    }


@pytest.fixture
def purged(aged: Path) -> Undisturbed:
    """What a purge that nobody disturbs leaves."""
    after = dict.fromkeys(("Milvus", "vector_exports", "article_vectors"), YOUNG) | dict.fromkeys(
        PER_ARTICLE, YOUNG | NEEDED
    )
    return Undisturbed(aged, what_is_there, after, purge)


def left(lake: Lakehouse) -> None:
    """What is served after a kill has its vector and its article, also after an export. Looked at in a copy,
    since exports write."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Lakehouse(lake.spark, f"{folder}/copy")
        shutil.copytree(str(lake.root), str(copy.root))
        there = what_is_there(copy)
        assert there["Milvus"] >= YOUNG
        assert there["Milvus"] <= there["article_vectors"] <= there["news"]
        export_articles(copy, JobRun("test"), uri=default_uri(copy))
        assert held(default_uri(copy)).keys() == YOUNG


@pytest.mark.slow
def test_killed(lake: Lakehouse, purged: Undisturbed, tmp_path: Path) -> None:
    command = ("purge_news", ("--older-than", HORIZON, "--as-of", TODAY, "--no-vacuum"))
    kill_and_rerun(purged, lake, MOMENTS, command, tmp_path, left=left)
