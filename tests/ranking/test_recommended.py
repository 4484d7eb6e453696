"""The trained recommender's score as a feature: what encode_users' vectors give, and nothing of hours that
the recommender has learnt from."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.ranking import ranker
from newslake.ranking.ctr import counts_at, estimated_at
from newslake.ranking.examples import recent_at
from newslake.ranking.gather import Moments, gathered, impressions_of, vector_folder
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.ranking.queries import queries_of
from newslake.ranking.scoring import with_features
from newslake.ranking.train import train_ranker
from newslake.run.jobrun import JobRun
from newslake.run.options import utc_now
from newslake.spark.frames import Frames, frame_of
from newslake.switches.classes import classed_news
from newslake.switches.promotions import promote
from newslake.training.encode_users import encode_users
from newslake.training.models.saved import SavedModel, load_saved
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.ranking import world
from tests.ranking.test_train import AS_OF, FEED, OPTIONS
from tests.tables import put

LEARNT_UNTIL = world.START + timedelta(hours=12)
LATE = world.START + timedelta(hours=60)
"""After everything that happens in the world."""
RECOMMENDER: dict[str, Any] = {
    "model": "dssm",
    "epochs": 2,
    "dim": 4,
    "batch_size": 8,
    "as_of": f"{LEARNT_UNTIL:%Y-%m-%dT%H}",
    "train_days": 0.4,
    "valid_hours": 4,
    "test_hours": 0,
    "promote": False,
}


def models(lake: Lakehouse) -> Path:
    """The folder of trained models."""
    return Path(f"{lake.root}/_models")


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, SavedModel]:
    """The world with a recommender of its first hours in use."""
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("recommended") / "lake"))
    world.write(lake, world.tables(3, articles=60, impressions=500))
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **RECOMMENDER)
    saved = load_saved(models(lake), run.facts["training run"])
    decide(lake, saved.run_id)
    return lake, saved


def decide(lake: Lakehouse, run_id: str) -> None:
    """Bring a recommender into use that no test was there to judge."""
    row = {"kind": "recommender", "run_id": run_id, "decided_by": "a test", "decided_at": utc_now()}
    put(
        lake,
        "promotions",
        [{**row, "promoted": True, "name": "dssm", "reason": "asked for", "in_use": "none"}],
    )


def features(lake: Lakehouse, saved: SavedModel, hour: datetime, days: int) -> pd.DataFrame:
    """The features of every user and recent article at an hour."""
    news = classed_news(lake)
    recent = recent_at(news, [hour], days)
    rates = estimated_at(recent, counts_at(impressions_of(lake), [hour], world.HALF_LIFE), news)
    users = frame_of(lake.spark, [(f"U{u}",) for u in range(6)], "user_id string")
    pairs = recent.select("hour", "news_id").crossJoin(users)
    pairs = pairs.selectExpr("user_id AS query", "user_id", "hour", "news_id")
    moments = Moments([hour], days, world.ENCODER, world.TOPICS)
    with Frames() as frames, vector_folder(lake, None) as folder:
        known, paths = gathered(lake, frames, folder, moments, news=news, rates=rates, recommender=saved)
        return with_features(queries_of(pairs, known, ["news_id"]), paths, ["news_id"]).toPandas()


def test_the_score_is_that_of_the_vectors_that_are_served(trained: tuple[Lakehouse, SavedModel]) -> None:
    lake, saved = trained
    call(encode_users, lake, JobRun("encode_users"), model_run=saved.run_id)
    of_users, of_news = (
        {row[0]: np.array(row[1]) for row in lake.read(table).select(key, "embedding").collect()}
        for table, key in (("user_embeddings", "user_id"), ("news_embeddings", "news_id"))
    )
    # What was trained has a vector of every article, also where it has no text to read.
    readable = {row[0] for row in lake.read("article_embeddings").select("news_id").collect()}
    found = features(lake, saved, LATE, days=4)
    assert len(found) > 100
    wanted = [
        float(of_users[user] @ of_news[news_id]) if news_id in readable else np.nan
        for user, news_id in zip(found["user_id"], found["news_id"], strict=True)
    ]
    np.testing.assert_allclose(found["recommended"], wanted, rtol=1e-4, atol=1e-5)
    assert found["recommended"].isna().any(), "of an article without a vector"


def test_nothing_is_known_of_hours_that_it_has_learnt_from(trained: tuple[Lakehouse, SavedModel]) -> None:
    lake, saved = trained
    assert saved.known_until == LEARNT_UNTIL
    assert features(lake, saved, LEARNT_UNTIL - timedelta(hours=1), days=1)["recommended"].isna().all()
    assert features(lake, saved, LEARNT_UNTIL, days=1)["recommended"].notna().any()


def test_a_ranker_keeps_the_recommender_that_it_has_learnt_with(
    trained: tuple[Lakehouse, SavedModel],
) -> None:
    lake, saved = trained
    run = JobRun("train_ranker")
    call(train_ranker, lake, run, **{**OPTIONS, "train_days": 1})
    assert run.facts["recommender whose score is a feature"] == saved.run_id
    first = ranker.load(models(lake), run.facts["training run"])
    assert first.recommender == saved.run_id
    # Another comes into use: the ranker's feed still takes its own.
    other = JobRun("train_recommender")
    call(train_recommender, lake, other, **{**RECOMMENDER, "seed": 1})
    decide(lake, other.facts["training run"])
    call(rank_newsfeed, lake, JobRun("rank_newsfeed"), **FEED)
    feed = lake.read("newsfeed").where("reason = 'vectors'").collect()
    assert {row["ranker"] for row in feed} == {first.run_id}
    # The next ranker learns with the other, and is judged against the first by that one's own scores.
    call(train_ranker, lake, again := JobRun("train_ranker"), **{**OPTIONS, "train_days": 1})
    assert again.facts["recommender whose score is a feature"] == other.facts["training run"]
    assert f"test nDCG@10 of {first.run_id}" in again.facts
    assert again.facts[f"test nDCG@10 of {first.run_id}"] == run.facts[f"test nDCG@10 of {first.run_id}"]
    promote(lake, JobRun("promote"), kind="ranker", run_id=first.run_id)
    # Without its recommender it is of no use, and the hour is ranked by the formula.
    folder = models(lake) / saved.run_id
    folder.rename(folder.with_name("elsewhere.tmp-1"))
    call(rank_newsfeed, lake, told := JobRun("rank_newsfeed"), **FEED)
    assert saved.run_id in told.facts["ranker in use, not usable"]
    with pytest.raises(UserError, match=saved.run_id):
        call(rank_newsfeed, lake, JobRun("rank_newsfeed"), **FEED, ranker=first.run_id)
    folder.with_name("elsewhere.tmp-1").rename(folder)


def test_one_that_knows_too_much_is_not_taken(trained: tuple[Lakehouse, SavedModel]) -> None:
    lake, _ = trained
    late = JobRun("train_recommender")
    call(train_recommender, lake, late, **{**RECOMMENDER, "as_of": f"{AS_OF:%Y-%m-%dT%H}", "train_days": 1})
    decide(lake, late.facts["training run"])
    run = JobRun("train_ranker")
    call(train_ranker, lake, run, **OPTIONS)
    assert run.facts["recommender whose score is a feature"] != late.facts["training run"]
