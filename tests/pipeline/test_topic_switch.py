"""A topic refit beside the hourly and daily runs, by the runs' own definition: no feed lacks a new article at
any moment."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Task
from newslake.pipeline.runs import daily, hourly
from newslake.run.cli import job_options, run_job
from newslake.run.jobrun import JobRun
from newslake.serving.stores.milvus.alias import read_name
from newslake.serving.stores.milvus.client import default_uri, opened
from newslake.serving.stores.milvus.collection import existing, holdings
from newslake.serving.stores.store import ARTICLES, KINDS, USERS
from newslake.spark.frames import frame_of
from newslake.switches.topic_model import active_topic_model
from newslake.text.articles import encode_articles
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from tests.killing import content
from tests.serving.rows import held
from tests.tables import put
from tests.text.conftest import save_bert
from tests.topics.conftest import FIT, SUBJECTS, about, write_news

READERS = {"U1": "sport", "U2": "money", "U3": "weather"}
OF_THE_HOUR = {
    "encode_articles",
    "assign_topics",
    "build_article_vectors",
    "rank_newsfeed",
    "export_articles",
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Options of a BERT of one layer."""
    return {
        "encoder": str(
            save_bert(tmp_path_factory.mktemp("models") / "bert", layers=1, width=16, heads=2, seed=1)
        ),
        "device": "cpu",
    }


def publish(lake: Lakehouse, articles: Iterable[tuple[str, int, str]]) -> None:
    """Articles: subject, number, when they were published."""
    write_news(
        lake,
        [
            (f"{subject}-{n}", about(subject, n, 5), about(subject, 900 + n), None, at)
            for subject, n, at in articles
        ],
    )
    named = (
        lake.read("news")
        .where("category IS NULL")
        .withColumn("category", F.substring_index("news_id", "-", 1))
    )
    put(lake, "news", named)


def read(lake: Lakehouse, at: str) -> None:
    """Each reader clicks an article of the reader's subject, and leaves another's alone."""
    when = datetime.fromisoformat(at)
    others = {subject: list(SUBJECTS)[place - 1] for place, subject in enumerate(SUBJECTS)}
    shown = [
        ("live", f"{user} {at}", place, user, when, when, f"{of}-0", place == 0, None, None, None)
        for user, subject in READERS.items()
        for place, of in enumerate((subject, others[subject]))
    ]
    put(lake, "impressions", frame_of(lake.spark, shown, lake.schema("impressions")))
    lake.create("click_history")


def do(
    lake: Lakehouse, tasks: Iterable[Task], *, until: str | None = None, after: str | None = None
) -> dict[str, JobRun]:
    """Run tasks of a run, one by one, as its definition has them."""
    tasks = list(tasks)
    keys = [task.key for task in tasks]
    part = tasks[
        0 if after is None else keys.index(after) + 1 : None if until is None else keys.index(until) + 1
    ]
    return {task.key: run_job(task.job, lake, job_options(task.job, task.arguments)) for task in part}


def hour(lake: Lakehouse, encoder: dict[str, Any], at: str, *, only: set[str] = OF_THE_HOUR) -> DataFrame:
    """The hourly run, and a look that each feed has every recent article that its reader has not read;
    returns the hour's feeds."""
    do(lake, [task for task in hourly(encoder, hour=at) if task.key in only])
    then = datetime.fromisoformat(f"{at}:00")
    feeds = lake.read("newsfeed").where(F.col("hour") == F.lit(then))
    age = (F.unix_timestamp(F.lit(then)) - F.unix_timestamp("published_at")) / 3600
    fresh = {row[0] for row in lake.read("news").where((age > 0) & (age <= 48)).select("news_id").collect()}
    for user, subject in READERS.items():
        rows = feeds.where(F.col("user_id") == user).collect()
        assert {row["news_id"] for row in rows} == fresh - {f"{subject}-0"}, (at, user)
        assert {row["reason"] for row in rows} == {"vectors"}, (at, user)
    return feeds


def served(lake: Lakehouse) -> set[str]:
    """The articles that are read by the alias; both aliases are of one model."""
    with opened(default_uri(lake)) as client:
        names = [read_name(client, kind, "newslake") for kind in KINDS]
        assert None not in names
        assert len({holdings(client, str(name))["topic_model"] for name in names}) == 1
    return set(held(default_uri(lake)))


def collections(lake: Lakehouse) -> list[str]:
    """The topic models that Milvus has collections of articles for."""
    with opened(default_uri(lake)) as client:
        return [each.topic_model for each in existing(client, ARTICLES, "newslake")]


@pytest.mark.slow
def test_no_feed_lacks_a_new_article_while_topics_are_fitted_anew(
    lake: Lakehouse, encoder: dict[str, Any]
) -> None:
    publish(lake, [(subject, n, "2019-11-13 08:00:00") for subject in SUBJECTS for n in range(6)])
    read(lake, "2019-11-13 12:00:00")
    fit: dict[str, Any] = {**FIT, "min_articles": 1}
    run_job(encode_articles, lake, encoder)
    old = run_job(fit_topics, lake, fit).facts["topic_model"]
    done = do(lake, daily(encoder, as_of="2019-11-14"), until="export_served")
    assert done["export_candidate"].facts["candidate"].startswith("none")
    assert done["activate_topic_model"].rows_written == {}
    assert len(served(lake)) == 18

    # Weekly: fitted, and given to all articles. Nothing that is served changes.
    new = run_job(fit_topics, lake, {**fit, "seed": 1}).facts["topic_model"]
    run_job(assign_topics, lake, {})
    run_job(build_article_vectors, lake, {})
    assert active_topic_model(lake) == old
    publish(lake, [("sport", 10, "2019-11-14 20:30:00")])
    hour(lake, encoder, "2019-11-14T21")
    assert "sport-10" in served(lake)

    # Daily, with an hourly run before the switch and one right after it.
    read(lake, "2019-11-14 22:00:00")
    day = daily(encoder, as_of="2019-11-15")
    do(lake, day, until="export_candidate")
    assert sorted(collections(lake)) == sorted([old, new])
    publish(lake, [("money", 10, "2019-11-15 00:20:00")])
    hour(lake, encoder, "2019-11-15T01")
    assert "money-10" in served(lake)
    do(lake, day, after="export_candidate", until="activate_topic_model")
    assert active_topic_model(lake) == new
    publish(lake, [("weather", 10, "2019-11-15 01:20:00")])
    hour(lake, encoder, "2019-11-15T02")
    do(lake, day, after="activate_topic_model", until="purge_news")
    assert served(lake) == {row[0] for row in lake.read("news").select("news_id").collect()}
    assert collections(lake) == [new]

    publish(lake, [("sport", 11, "2019-11-15 02:20:00")])
    feeds = content(hour(lake, encoder, "2019-11-15T03"))
    assert "sport-11" in served(lake)

    # The day again: one model's rows, and the same feed.
    do(lake, [task for task in day if task.key in {"build_profiles", "build_user_vectors", "export_served"}])
    for table in ("user_vectors", "user_topics"):
        rows = lake.read(table).where("as_of = '2019-11-15'").select("topic_model").distinct().collect()
        assert [row[0] for row in rows] == [new], table
    assert content(hour(lake, encoder, "2019-11-15T03", only={"rank_newsfeed"})) == feeds
    users = held(default_uri(lake), USERS)
    assert len(users) == lake.read("user_vectors").where("as_of = '2019-11-15'").count()
