"""train_recommender with --tune-layers, and encode_users after it, from tables to tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.remote import local
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.text.articles import encode_articles
from newslake.training.data import staging
from newslake.training.data.preparation import models_folder, staging_folder
from newslake.training.encode_users import encode_users
from newslake.training.models.saved import load_saved
from newslake.training.recommender import train_recommender
from tests.calling import call
from tests.tables import put
from tests.text.conftest import WORDS, save_bert
from tests.training import frames

BEHAVIORS = frames.drawn_behaviors(3, with_history=True)
OPTIONS: dict[str, Any] = {"model": "nrms", "epochs": 2, "dim": 8, "batch_size": 16, "history": 5}
TUNED: dict[str, Any] = {**OPTIONS, "tune_layers": 1, "text_tokens": 16}


def fill(lake: Lakehouse) -> None:
    """The tables of `frames`, with articles that have a text: title and abstract in words that tell the
    article's kind."""
    frames.fill(lake, BEHAVIORS)
    random = np.random.default_rng(0)
    rows = []
    for number in range(60):
        words = [str(word) for word in random.choice(WORDS[number % 3 :: 3], size=9)]
        rows.append((f"N{number:03}", " ".join(words[:3]), " ".join(words[3:])))
    texts = frame_of(lake.spark, rows, "news_id string, title string, abstract string")
    news = lake.read("news").drop("title", "abstract", "content_hash").join(texts, on="news_id", how="inner")
    # An article without any text: it goes to quarantine when the others are encoded.
    bare = F.col("news_id") == "N050"
    for name in ("title", "abstract"):
        news = news.withColumn(name, F.when(bare, "").otherwise(F.col(name)))
    news = news.withColumn("content_hash", F.sha2(F.concat_ws("|", "title", "abstract"), 256))
    put(lake, "news", news.select(lake.read("news").columns).localCheckpoint())


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("models") / "bert", layers=2, width=32, heads=4, seed=1)


@pytest.fixture(scope="module")
def trained(
    spark: SparkSession, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lakehouse, JobRun]:
    lake = Lakehouse(spark, str(tmp_path_factory.mktemp("tuned") / "lakehouse"))
    fill(lake)
    call(encode_articles, lake, JobRun("encode_articles"), encoder=str(encoder))
    run = JobRun("train_recommender")
    call(train_recommender, lake, run, **TUNED, encoder=str(encoder))
    return lake, run


def vectors(lake: Lakehouse, table: str, key: str) -> dict[str, list[float]]:
    return {row[key]: row["embedding"] for row in lake.read(table).collect()}


def test_the_job_stages_texts_trains_and_is_not_done_twice(
    trained: tuple[Lakehouse, JobRun], encoder: Path
) -> None:
    lake, run = trained
    assert run.facts["texts for the encoder"] == "59"
    saved = load_saved(models_folder(lake, None, None), run.facts["training run"])
    assert saved.tuned is not None
    assert (saved.tuned.model, saved.tuned.text_tokens, saved.settings.tune_layers) == (str(encoder), 16, 1)
    [texts] = local(staging_folder(lake, None)).glob("*/texts-*")
    before = texts.stat().st_mtime_ns
    again = JobRun("train_recommender")
    call(train_recommender, lake, again, **TUNED, encoder=str(encoder))
    assert again.facts["training run"] == run.facts["training run"]
    assert again.rows_written == {}
    assert texts.stat().st_mtime_ns == before
    served = vectors(lake, "user_embeddings", "user_id"), vectors(lake, "news_embeddings", "news_id")
    assert {len(vector) for of_table in served for vector in of_table.values()} == {32 + 8}  # frozen, learnt


def test_encode_users_gives_the_vectors_of_training(
    trained: tuple[Lakehouse, JobRun], encoder: Path, tmp_path: Path
) -> None:
    lake, _ = trained
    users, articles = vectors(lake, "user_embeddings", "user_id"), vectors(lake, "news_embeddings", "news_id")
    history = frames.click_history(
        lake.spark, [("live", "1", "U99", "N000 N003", "")], lake.schema("click_history")
    )
    lake.replace("click_history", history, where={"split": "live"})
    encode_users(lake, JobRun("encode_users"), add_clicks=False, device="cpu")
    found, of_articles = (
        vectors(lake, "user_embeddings", "user_id"),
        vectors(lake, "news_embeddings", "news_id"),
    )
    assert found.keys() == users.keys() | {"U99"}
    assert all(found[user] == pytest.approx(users[user], abs=1e-4) for user in users)
    assert all(of_articles[article] == pytest.approx(articles[article], abs=1e-4) for article in articles)
    moved = encoder.rename(tmp_path / "bert")
    try:
        with pytest.raises(UserError, match="no such folder"):
            encode_users(lake, JobRun("encode_users"), add_clicks=False, device="cpu")
        again = JobRun("encode_users")
        encode_users(lake, again, add_clicks=False, device="cpu", encoder=str(moved))
        assert again.rows_written == {"user_embeddings": 0, "news_embeddings": 0}
        other = save_bert(tmp_path / "other" / "bert", layers=2, width=32, heads=4, seed=2)
        with pytest.raises(UserError, match="but the articles' vectors are by bert"):
            encode_users(lake, again, add_clicks=False, device="cpu", encoder=str(other))
    finally:
        moved.rename(encoder)


def test_what_cannot_be_tuned_is_refused_before_anything_is_staged(
    trained: tuple[Lakehouse, JobRun], encoder: Path
) -> None:
    lake, run = trained[0], JobRun("train_recommender")
    staged = sorted(local(staging_folder(lake, None)).rglob("*"))
    with pytest.raises(UserError, match="--tune-layers 3: bert has 2 layers"):
        call(train_recommender, lake, run, **{**TUNED, "tune_layers": 3}, encoder=str(encoder))
    with pytest.raises(UserError, match="--encoder all-MiniLM-L6-v2 is all-MiniLM-L6-v2"):
        call(train_recommender, lake, run, **TUNED)
    with pytest.raises(UserError, match="content does not read texts"):
        call(train_recommender, lake, run, **{**TUNED, "model": "content"}, encoder=str(encoder))
    assert sorted(local(staging_folder(lake, None)).rglob("*")) == staged


@pytest.mark.slow
def test_two_processes_of_the_distributor_tune_too(
    trained: tuple[Lakehouse, JobRun], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "CLICKS_PER_ROW_GROUP", 32)
    lake, first = trained
    run = JobRun("train_recommender")
    call(
        train_recommender,
        lake,
        run,
        **TUNED,
        encoder=str(encoder),
        processes=2,
        device="cpu",
        staging=str(tmp_path / "staging"),
    )
    assert run.facts["training run"] != first.facts["training run"]
    assert run.rows_written == first.rows_written
    best = {
        row["run_id"]: row["auc"]
        for row in lake.read("model_metrics").where("best AND split = 'valid'").collect()
    }
    assert best[run.facts["training run"]] == pytest.approx(best[first.facts["training run"]], abs=0.1)
