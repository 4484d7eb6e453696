"""A lakehouse that only streams fill: the weekly, daily and hourly runs do all they do, and what readers did
trains what readers get."""

import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.run import run_pipeline
from newslake.pipeline.runs import MODELS
from newslake.run.cli import run_job
from newslake.run.settings import SettingsFile
from newslake.streaming.articles import stream_articles
from newslake.streaming.behaviors import stream_behaviors
from newslake.users.profiles import build_profiles

WORDS = {
    "sports": ("team", "wins", "goal", "star"),
    "weather": ("storm", "rain", "city"),
    "money": ("market", "stock", "news"),
    "law": ("law", "court", "vote", "mayor"),
}
FIRST, DAYS, USERS, ARTICLES = datetime(2019, 11, 10, tzinfo=UTC), 6, 16, 48
"""Events of 10 to 15 November: by a run of the 16th, test is the last day, valid the day before."""
# What little there is must be enough for each step.
SMALL = SettingsFile(
    jobs={
        "fit_topics": {
            "topics": 4,
            "vector-size": 8,
            "passes": 3,
            "word-passes": 1,
            "min-articles": 2,
            "max-share": 0.5,
        },
        "train_text_classifier": {"least": 2, "folds": 2, "epochs": 10},
        "reclassify_short_text": {"min-score": 0.1, "neighbours": 3, "votes": 2},
        "compare_models": {"resamples": 20},
        "train_ranker": {"days": 10, "resamples": 20},
    }
)


def lines(folder: Path, rows: list[dict[str, Any]], at: datetime) -> None:
    """A file of messages that arrived at a moment."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{at:%Y-%m-%d}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.utime(file, (at.timestamp(), at.timestamp()))


def category_of(number: int) -> str:
    return list(WORDS)[number % len(WORDS)]


def articles(rng: random.Random) -> list[dict[str, Any]]:
    """Every other one with a body: one must be long for the classifiers, one short for the vote."""
    found = []
    for number in range(ARTICLES):
        words, at = WORDS[category_of(number)], FIRST + timedelta(hours=3 * number - 24)
        made: dict[str, Any] = {
            "news_id": f"N{number}",
            "category": category_of(number),
            "published_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }
        made["title"] = " ".join(rng.choices(words, k=5))
        found.append({**made, "body": " ".join(rng.choices(words, k=60))} if number // 4 % 2 else made)
    return found


def events(rng: random.Random, day: int) -> list[dict[str, Any]]:
    """Two impressions of each user: of five articles a click on those of the user's category, mostly, ten
    minutes later."""
    found = []
    for user in range(USERS):
        for hour in (8, 18):
            at = FIRST + timedelta(days=day, hours=hour, minutes=user)
            name = f"I{day}-{user}-{hour}"
            shown = rng.sample(range(ARTICLES), 5)
            same = {"user_id": f"U{user}"}
            impression = {"type": "impression", "event_id": name, "occurred_at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
            found.append({**same, **impression, "news_ids": [f"N{number}" for number in shown]})
            for number in shown:
                if rng.random() < (0.9 if category_of(number) == category_of(user) else 0.05):
                    click = {
                        "type": "click",
                        "event_id": f"C{name}-{number}",
                        "impression_id": name,
                        "news_id": f"N{number}",
                    }
                    found.append(
                        {**same, **click, "occurred_at": f"{at + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"}
                    )
    return found


@pytest.mark.slow
def test_streams_alone_fill_all_that_the_runs_need(
    spark: SparkSession,
    lake: Lakehouse,
    small_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng, encoder = random.Random(1), {"encoder": str(small_model)}
    lines(tmp_path / "articles", articles(rng), FIRST)
    for day in range(DAYS):
        lines(tmp_path / "events", events(rng, day), FIRST + timedelta(days=day, hours=23))
    run_job(stream_articles, lake, {"files": str(tmp_path / "articles"), "once": True, **encoder})
    run_job(stream_behaviors, lake, {"files": str(tmp_path / "events"), "once": True})
    for pipeline in (
        {"pipeline": "weekly", "as_of": "2019-11-16", "epochs": 1},
        {"pipeline": "daily", "as_of": "2019-11-16"},
    ):
        run_job(run_pipeline, lake, {**pipeline, **encoder}, settings_file=SMALL)
    said = capsys.readouterr().out
    run_job(
        run_pipeline, lake, {"pipeline": "hourly", "hour": "2019-11-16T08", **encoder}, settings_file=SMALL
    )
    assert not lake.exists("click_history")

    test_day = (
        lake.read("impressions")
        .where("date(occurred_at) = '2019-11-15'")
        .select("impression_id")
        .distinct()
        .count()
    )
    kept = {row["model"]: row for row in lake.read("model_metrics").where("split = 'test'").collect()}
    assert kept.keys() == set(MODELS)
    for row in kept.values():
        assert row["best"]
        assert 0 < row["impressions"] + row["impressions_left_out"] <= test_day == USERS * 2
    compared = lake.read("model_comparison").where("users = 'all' AND metric = 'auc'").collect()
    assert {(row["model"], row["split"]) for row in compared} == {
        (model, "test") for model in ("zero-shot", *MODELS)
    }
    # Histories are there: the mean of what a reader clicked tells the reader's category from others.
    assert {row["model"]: row["value"] for row in compared}["zero-shot"] > 0.6
    assert "test, best epoch" in said
    assert "valid, best epoch" not in said
    report = Path(lake.root or "") / "_report" / "report.html"
    assert ">test AUC<" in report.read_text(encoding="utf-8")

    feed = lake.read("newsfeed").where("hour = '2019-11-16 08:00:00'")
    assert {row[0] for row in feed.select("user_id").distinct().collect()} == {
        f"U{user}" for user in range(USERS)
    }
    clicked = lake.read("impressions").where("clicked").select("user_id", "news_id")
    assert feed.join(clicked, on=["user_id", "news_id"], how="left_semi").isEmpty()
    read = run_job(build_profiles, lake, {"as_of": "2019-11-17"})
    assert read.rows_read == 0, "nothing came since, and nothing counts twice"
    assert lake.read("user_tags").where(F.col("as_of") == "2019-11-17").count() > 0
