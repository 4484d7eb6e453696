"""classify_articles: the saved classifier of its kind scores what is new, once, also where a run was
killed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.switches.classes import classed_news
from newslake.training.classifier.classify import classify_articles
from tests.killing import commits, content, data_files
from tests.tables import put
from tests.training.classifier.test_train import fill, train
from tests.undisturbed import kill_at

SCORES = "article_class_scores"
LONG = "a new text " * 40
Vector = Sequence[float] | None


def near(place: int, size: int = 16) -> list[float]:
    """A vector near a class's direction, not of length 1."""
    return [
        float(x) for x in np.eye(size)[place] * 6.0 + np.random.default_rng(place).standard_normal(size) * 0.5
    ]


def arrive(
    lake: Lakehouse,
    articles: Mapping[str, tuple[str, Vector]],
    *,
    category: str | None = None,
    encoder: str = "E: 1",
) -> None:
    """New articles: news_id -> (text, vector)."""
    rows = [(key, category, text) for key, (text, _) in articles.items()]
    frame = frame_of(lake.spark, rows, "news_id string, category string, title string").withColumn(
        "content_hash", F.sha2("title", 256)
    )
    columns = [
        F.col(f.name) if f.name in frame.columns else F.lit(None).cast(f.dataType).alias(f.name)
        for f in lake.schema("news")
    ]
    put(lake, "news", frame.select(*columns))
    vectors = [(key, list(vector)) for key, (_, vector) in articles.items() if vector is not None]
    made = frame_of(lake.spark, vectors, "news_id string, embedding array<float>").join(
        frame, on="news_id", how="inner"
    )
    rows_of = made.select(
        "news_id",
        F.lit(encoder).alias("encoder_id"),
        "content_hash",
        F.lit(1).alias("token_count"),
        "embedding",
    )
    put(lake, "article_embeddings", rows_of)


def classify(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("classify_articles")
    classify_articles(lake, run, **options)
    return run


def scores(lake: Lakehouse, model_run: str) -> dict[str, tuple[str, float]]:
    """news_id -> class, score."""
    rows = lake.read(SCORES).where(F.col("model_run") == model_run).collect()
    return {row["news_id"]: (row["class"], row["score"]) for row in rows}


def expected(lake: Lakehouse, model_run: str, vector: Sequence[float]) -> tuple[str, float]:
    """Class and score by the row of text_classifiers, in torch and double precision."""
    row = lake.read("text_classifiers").where(F.col("model_run") == model_run).head()
    assert row is not None
    x = torch.nn.functional.normalize(torch.tensor(vector, dtype=torch.float64), dim=0)
    for place, layer in enumerate(row["layers"]):
        weights, bias = (torch.tensor(layer[name], dtype=torch.float64) for name in ("weights", "bias"))
        x = torch.nn.functional.linear(torch.relu(x) if place else x, weights, bias)
    best = torch.softmax(x, 0).max(0)
    return row["classes"][int(best.indices)], float(best.values)


@pytest.mark.slow
def test_killed(lake: Lakehouse, tmp_path: Path) -> None:
    fill(lake)
    model_run = train(lake).facts["model_run"]
    trained_on = scores(lake, model_run)
    arrive(lake, {"A0": (f"a {LONG}", near(0)), "A1": (f"b {LONG}", near(1))})
    files = data_files(Path(str(lake.root)) / SCORES)
    kill_at(lambda root: data_files(root / SCORES) > files, lake, ("classify_articles", []), tmp_path / "log")
    classify(lake)
    assert set(scores(lake, model_run)) == {*trained_on, "A0", "A1"}
    assert classify(lake).rows_written == {}


def test_new_articles_are_scored_once(lake: Lakehouse) -> None:
    fill(lake)
    model_run = train(lake, network="hidden", hidden=8).facts["model_run"]
    trained_on = scores(lake, model_run)
    new: dict[str, tuple[str, Vector]] = {
        "A0": (f"a {LONG}", near(0)),
        "A1": (f"b {LONG}", near(1)),
        "A2": (f"c {LONG}", None),
        "A3": (f"d {LONG}", [0.0] * 16),  # without a direction
        "A4": (f"e {LONG}", [1.0, 2.0]),  # of another size
        "S0": ("short", near(0)),
    }
    arrive(lake, new)
    run = classify(lake)
    found = scores(lake, model_run)
    assert set(found) == {*trained_on, "A0", "A1"}
    assert {key: found[key] for key in trained_on} == trained_on, "of models that had not seen them"
    for key in ("A0", "A1"):
        vector = new[key][1]
        assert vector is not None
        name, score = expected(lake, model_run, vector)
        assert found[key] == (name, pytest.approx(score, abs=1e-5))
    assert [found["A0"][0], found["A1"][0]] == ["autos", "music"]
    assert run.facts[f"without a vector for {model_run}"] == "1"
    assert run.facts[f"whose vector has no direction or an odd size, {model_run}"] == "2"

    before, wrote = content(lake.read(SCORES)), commits(Path(str(lake.root)) / SCORES)
    assert classify(lake).rows_written == {}
    assert (content(lake.read(SCORES)), commits(Path(str(lake.root)) / SCORES)) == (before, wrote)
    # A text that changed is scored anew; the vector of the text before says nothing of it.
    arrive(lake, {"A0": (f"now {LONG}", None)})
    assert classify(lake).rows_written == {}
    arrive(lake, {"A0": (f"now {LONG}", near(2))})
    assert classify(lake).rows_written == {SCORES: 1}
    assert scores(lake, model_run)["A0"][0] == "sports"
    # Who came without a class is counted in the one that was found, where it is sure; table news does not
    # change.
    classed = {
        row["news_id"]: row["category"] for row in classed_news(lake).where("news_id LIKE 'A%'").collect()
    }
    sure = {key: name for key, (name, score) in scores(lake, model_run).items() if score > 0.9}
    assert {"A0", "A1"} <= set(sure)
    assert classed == {key: sure.get(key) for key in ("A0", "A1", "A2", "A3", "A4")}
    assert lake.read("news").where("news_id LIKE 'A%' AND category IS NOT NULL").isEmpty()


def test_long_and_short_texts_have_a_classifier_each(lake: Lakehouse) -> None:
    fill(lake)
    texts = {f"S{i:02}": (f"short {i}", near(i % 3)) for i in range(30)}
    arrive(lake, texts, category="wrong")
    hashes = lake.read("news").where("category = 'wrong'").select("news_id", "title", "content_hash")
    names = F.element_at(
        F.array(*map(F.lit, ("autos", "music", "sports"))),
        (F.substring("news_id", 2, 2).cast("int") % 3 + 1).cast("int"),
    )
    corpus = hashes.select(
        "news_id",
        F.col("title").alias("text"),
        names.alias("class"),
        F.lit("wrong").alias("old_class"),
        F.lit("changed").alias("decision"),
        F.lit("2019-11-15").cast("date").alias("as_of"),
        "content_hash",
    )
    put(lake, "short_text_corpus", corpus)
    old = train(lake, seed=5).facts["model_run"]
    runs = {kind: train(lake, trained_on=kind).facts["model_run"] for kind in ("long", "short")}
    train(lake, trained_on="short", network="hidden", hidden=4, epochs=1)  # then the last of its kind
    arrive(lake, {"A0": (f"a {LONG}", near(0)), "S90": ("a short text", near(1))})
    classify(lake, model_run=runs["short"])
    assert "A0" not in scores(lake, runs["short"])
    assert scores(lake, runs["short"])["S90"][0] == "music"
    classify(lake)
    assert scores(lake, runs["long"])["A0"][0] == "autos"
    assert "A0" not in scores(lake, old)
    assert {"S90"} == {row["news_id"] for row in lake.read(SCORES).where("news_id = 'S90'").collect()}
    assert lake.read(SCORES).where("news_id = 'S90'").count() == 2, (
        "by the one that was named, and by the last"
    )


def test_mistakes_are_told(lake: Lakehouse) -> None:
    fill(lake)
    with pytest.raises(UserError, match=r"table text_classifiers is not there yet .* train_text_classifier"):
        classify(lake)
    model_run = train(lake, epochs=1).facts["model_run"]
    with pytest.raises(
        UserError,
        match=f"--model-run nope: table text_classifiers has no such classifier; it has {model_run}",
    ):
        classify(lake, model_run="nope")
    with pytest.raises(UserError, match="--short-chars must be at least 1"):
        classify(lake, short_chars=0)
    # The new articles' vectors are another encoder's: nothing would ever be classified.
    arrive(lake, {"A0": (f"a {LONG}", near(0))}, encoder="E: 2")
    said = (
        f"classifier {model_run} reads vectors by E: 1, but the articles have only those by E: 2: run"
        " jobs/encode_articles.py"
    )
    with pytest.raises(UserError, match=said):
        classify(lake)
    lake.delete("article_embeddings", "encoder_id = 'E: 1'")
    with pytest.raises(UserError, match=said):
        classify(lake)
    lake.delete("text_classifiers", "true")
    with pytest.raises(
        UserError, match="text_classifiers has no classifier of long articles or of the corrected corpus"
    ):
        classify(lake)
