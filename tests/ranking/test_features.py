"""The ranker's features against brute force; the same for one hour as among many, and whatever happens
afterwards."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.ctr import counts_at, estimated_at
from newslake.ranking.examples import recent_at
from newslake.ranking.features import FEATURES
from newslake.ranking.gather import Moments, gathered, impressions_of, vector_folder
from newslake.ranking.queries import queries_of
from newslake.ranking.scoring import with_features
from newslake.spark.frames import Frames, frame_of
from newslake.switches.classes import classed_news
from tests.ranking import world

KEYS = ["user_id", "news_id"]


def features(lake: Lakehouse, hours: Sequence[datetime]) -> pd.DataFrame:
    """The features of every user and recent article at the hours."""
    news = classed_news(lake)
    recent = recent_at(news, hours, world.DAYS)
    rates = estimated_at(recent, counts_at(impressions_of(lake), hours, world.HALF_LIFE), news)
    users = frame_of(lake.spark, [(f"U{u}",) for u in range(7)], "user_id string")
    pairs = (
        recent.select("hour", "news_id")
        .crossJoin(users)
        .selectExpr("concat(user_id, hour) AS query", "user_id", "hour", "news_id")
    )
    moments = Moments(hours, world.DAYS, world.ENCODER, world.TOPICS)
    with Frames() as frames, vector_folder(lake, None) as folder:
        known, paths = gathered(lake, frames, folder, moments, news=news, rates=rates)
        return with_features(queries_of(pairs, known, ["news_id"]), paths, ["news_id"]).toPandas()


@pytest.fixture(scope="module")
def filled(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, world.Tables]:
    """The world, and its rows."""
    lake, rows = Lakehouse(spark, str(tmp_path_factory.mktemp("world") / "lake")), world.tables()
    world.write(lake, rows)
    return lake, rows


@pytest.fixture(scope="module")
def among_many(filled: tuple[Lakehouse, world.Tables]) -> pd.DataFrame:
    """The features at all hours, computed together as for training."""
    return features(filled[0], world.HOURS)


def test_features_are_those_of_brute_force(
    filled: tuple[Lakehouse, world.Tables], among_many: pd.DataFrame
) -> None:
    assert set(among_many["hour"]) == {pd.Timestamp(hour) for hour in world.HOURS}
    for row in among_many.to_dict("records"):
        wanted = world.brute_force(filled[1], row["user_id"], row["news_id"], row["hour"].to_pydatetime())
        assert {name: row[name] for name in FEATURES} == pytest.approx(
            wanted, rel=1e-4, abs=1e-5, nan_ok=True
        ), row
    # The world has what each feature is about.
    about = [name for name in FEATURES if name != "recommended"]  # see test_recommended
    assert (among_many[about].nunique() > 4).all()
    assert among_many[["cosine_max", "likeness", "category_share"]].isna().any().all()


def test_a_feed_computes_what_training_did(
    filled: tuple[Lakehouse, world.Tables], among_many: pd.DataFrame
) -> None:
    for hour in world.HOURS[1:3]:
        then = among_many[among_many["hour"] == hour].sort_values(KEYS)
        alone = features(filled[0], [hour]).sort_values(KEYS)
        np.testing.assert_allclose(
            alone[list(FEATURES)].to_numpy(), then[list(FEATURES)].to_numpy(), rtol=1e-6, atol=1e-7
        )


def test_what_happens_from_the_hour_on_changes_no_feature(
    filled: tuple[Lakehouse, world.Tables], among_many: pd.DataFrame, spark: SparkSession, tmp_path: Path
) -> None:
    hour = world.HOURS[2]
    other = Lakehouse(spark, str(tmp_path / "other"))
    world.write(other, world.altered(filled[1], hour))
    found = features(other, world.HOURS)
    for at in world.HOURS:
        before, after = (
            rows[rows["hour"] == at].sort_values([*KEYS]).reset_index(drop=True)
            for rows in (among_many, found)
        )
        same = before.equals(after)
        assert same == (at <= hour), at
