"""What the vote leads to: a text whose class it changed is counted in the new one by profiles, rates and
training."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.ranking.newsfeed import rank_newsfeed
from newslake.run.jobrun import JobRun
from newslake.search.reclassify import reclassify_short_text
from newslake.training.data.preparation import Inputs, prepare
from newslake.users.profile_options import WeightOptions
from newslake.users.profiles import build_profiles
from tests.search import frames
from tests.tables import put

HOUR = datetime(2019, 11, 15, 8)
BEFORE = HOUR - timedelta(hours=12)


def fill_world(lake: Lakehouse) -> None:
    """Long articles in their classes, and two short texts about autos, of which one came as music. Autos are
    clicked, music is not."""
    frames.fill(
        lake, {"S1": ("autos", frames.around("autos", 101)), "S2": ("music", frames.around("autos", 102))}
    )
    # As a message of the stream brings them: with a subcategory, and a time.
    named = F.coalesce(F.regexp_extract("news_id", "^L([a-z]+)", 1), F.lit(""))
    rows = lake.read("news").withColumns(
        {
            "category": F.when(named != "", named).otherwise(F.col("category")),
            "published_at": F.lit(BEFORE - timedelta(hours=1)),
            "subcategory": F.when(F.col("news_id") == "S2", "pop"),
        }
    )
    put(lake, "news", rows.localCheckpoint())
    shown = [
        ("u1", "S2", True),
        ("u1", "Lautos00", True),
        ("u2", "Lautos01", True),
        ("u2", "Lmusic00", False),
        ("u1", "Lmusic01", False),
    ]
    impressions = [
        {
            "split": split,
            "impression_id": f"{split}{number}",
            "position": 0,
            "user_id": user,
            "occurred_at": BEFORE,
            "ingested_at": BEFORE,
        }
        | {"news_id": news_id, "clicked": clicked}
        for split in ("train", "dev")
        for number, (user, news_id, clicked) in enumerate(shown)
    ]
    put(lake, "impressions", impressions)
    kept = ("split", "impression_id", "user_id", "occurred_at")
    histories: list[dict[str, Any]] = [
        {**{name: row[name] for name in kept}, "news_ids": []} for row in impressions
    ]
    put(lake, "click_history", histories)
    same = {"encoder_id": "E", "topic_model": "T"}
    vectors = [
        {"news_date": BEFORE.date(), "news_id": key, "vector": [1.0, 0.0], "inputs_hash": key}
        for key in ("S2", "Lautos02")
    ]
    put(lake, "article_vectors", [row | same for row in vectors])
    put(
        lake,
        "user_vectors",
        [
            {
                "as_of": HOUR.date(),
                "user_id": "u9",
                "tag_group": 0,
                "phrase_id": "P",
                "weight": 1.0,
                "vector": [1.0, 0.0],
            }
            | same
        ],
    )


@pytest.fixture
def voted(lake: Lakehouse) -> Lakehouse:
    """The world after the vote, which changes S2."""
    fill_world(lake)
    run = JobRun("reclassify_short_text")
    reclassify_short_text(lake, run, neighbours=5, votes=4, short_chars=60, as_of="2019-11-15")
    assert (run.facts["changed"], run.facts["confirmed"]) == ("1", "1")
    return lake


def test_a_corrected_class_is_counted_in_tags_rates_and_training(voted: Lakehouse, tmp_path: Path) -> None:
    settings = WeightOptions(clock="occurrence", keywords=0, min_weight=0.0)
    build_profiles(voted, JobRun("build_profiles"), as_of="2019-11-15", settings=settings)
    tags = {row["tag"]: row["weight"] for row in voted.read("user_tags").where("user_id = 'u1'").collect()}
    # u1 clicked S2 and Lautos00, in either split: all of it is autos, and nothing music or pop.
    assert set(tags) == {"autos"}
    # A category counts half of a click; the clicks were four hours before the day began, of seven days'
    # half-life.
    assert tags["autos"] == pytest.approx(4 * 0.5 * 0.5 ** (4 / 24 / 7), rel=1e-6)

    rank_newsfeed(
        voted, JobRun("rank_newsfeed"), hour="2019-11-15T08", per_vector=2, encoder_id="E", topic_model="T"
    )
    prior = {row["news_id"]: row["prior"] for row in voted.read("article_ctr").collect()}
    assert prior["S2"] == prior["S1"] == prior["Lautos05"] > prior["Lmusic05"]
    music = voted.read("article_ctr").where("news_id = 'Lmusic05'").head()
    assert music is not None
    assert music["ctr"] < prior["S2"]

    prepared = prepare(voted, JobRun("train"), tmp_path, Inputs(), with_vectors=False)
    staged = {row["news_id"]: row for row in pq.read_table(prepared.staged.files("articles")).to_pylist()}
    assert (staged["S2"]["category"], staged["S2"]["subcategory"]) == ("autos", None)
    assert staged["Lmusic00"]["category"] == "music"

    news = voted.read("news").where("news_id = 'S2'").head()
    assert news is not None
    assert (news["category"], news["subcategory"]) == ("music", "pop"), "the source's own stays"


def test_without_a_vote_the_sources_classes_count(lake: Lakehouse, tmp_path: Path) -> None:
    fill_world(lake)
    prepared = prepare(lake, JobRun("train"), tmp_path, Inputs(), with_vectors=False)
    staged = {row["news_id"]: row for row in pq.read_table(prepared.staged.files("articles")).to_pylist()}
    assert (staged["S2"]["category"], staged["S2"]["subcategory"]) == ("music", "pop")
