"""The text classifier: out-of-fold scores, quality figures against scikit-learn, reruns, and the job from
tables to tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.training.classifier.data import TextFeed, classes_of
from newslake.training.classifier.model import FoldedClassifier
from newslake.training.classifier.quality import Quality
from newslake.training.classifier.settings import ClassifierSettings
from newslake.training.classifier.train import train_text_classifier
from newslake.training.data.staging import Staged
from tests.calling import call
from tests.killing import content
from tests.tables import put

CLASSES = ("autos", "music", "sports")
TABLES = ("article_class_scores", "text_classifiers", "text_classifier_classes")
OPTIONS: dict[str, Any] = {"epochs": 20, "learning_rate": 0.1, "batch_size": 16, "folds": 3, "least": 2}
SETTINGS = ClassifierSettings("hidden", 5, 3, 2, 4, 0.01, 0.0, 0)


def fill(lake: Lakehouse, *, texts: int = 60, random_labels: bool = False, copies: int = 1) -> None:
    """Long articles around three directions; with `copies`, each text comes several times under other ids."""
    random = np.random.default_rng(1)
    rows = []
    for i in range(texts):
        vector = np.eye(16, dtype=np.float32)[i % 3] * (
            0.0 if random_labels else 6.0
        ) + random.standard_normal(16)
        label = CLASSES[random.integers(3)] if random_labels else CLASSES[i % 3]
        rows += [
            (f"N{i:03}-{copy}", label, f"text {i} " * 60, [float(x) for x in vector])
            for copy in range(copies)
        ]
    frame = frame_of(
        lake.spark, rows, "news_id string, category string, title string, embedding array<float>"
    )
    frame = frame.withColumn("content_hash", F.sha2("title", 256))
    columns = [
        F.col(f.name) if f.name in frame.columns else F.lit(None).cast(f.dataType).alias(f.name)
        for f in lake.schema("news")
    ]
    put(lake, "news", frame.select(*columns))
    vectors = frame.select(
        "news_id",
        F.lit("E: 1").alias("encoder_id"),
        "content_hash",
        F.lit(1).alias("token_count"),
        "embedding",
    )
    put(lake, "article_embeddings", vectors)


def train(lake: Lakehouse, **options: Any) -> JobRun:
    """One run of the job."""
    run = JobRun("train_text_classifier")
    call(train_text_classifier, lake, run, **{**OPTIONS, **options})
    return run


def results(lake: Lakehouse) -> list[tuple[int, int]]:
    """Content of all that the job writes, but for when."""
    return [content(lake.read(table), without=["trained_at"]) for table in TABLES]


def test_scores_quality_and_rerun(lake: Lakehouse) -> None:
    fill(lake)
    run = train(lake)
    found = lake.read("text_classifiers").head()
    assert found is not None
    assert found["classes"] == list(CLASSES)
    assert found["texts"] == 60
    assert found["accuracy"] > 0.9
    assert sum(b["texts"] for b in found["calibration"]) == 60
    scores = (
        lake.read("article_class_scores")
        .join(lake.read("news").select("news_id", "category"), on="news_id", how="inner")
        .collect()
    )
    assert len(scores) == 60
    right = [row["class"] == row["category"] for row in scores]
    assert np.mean(right) == pytest.approx(found["accuracy"])
    assert all(1 / 3 <= row["score"] <= 1.0 for row in scores)
    by_class = {row["class"]: row for row in lake.read("text_classifier_classes").collect()}
    assert sum(row["correct"] for row in by_class.values()) == sum(right)
    # The model that is kept can be used from its row alone.
    (layer,) = found["layers"]
    assert np.array(layer["weights"]).shape == (3, 16)
    logits = np.array(layer["weights"]) @ np.eye(16)[1] + np.array(layer["bias"])
    assert found["classes"][int(logits.argmax())] == "music"
    before = results(lake)
    assert train(lake).rows_written == {}
    assert train(lake, force=True).rows_written == run.rows_written
    assert results(lake) == before
    train(lake, network="hidden", hidden=8)
    assert lake.read("text_classifiers").count() == 2


def test_no_text_is_scored_by_a_model_that_trained_on_it(lake: Lakehouse) -> None:
    # Labels mean nothing and every text comes three times: who remembers is right, who has not seen the text
    # guesses.
    fill(lake, texts=80, random_labels=True, copies=3)
    train(lake, network="hidden", hidden=64, epochs=60)
    found = lake.read("text_classifiers").head()
    assert found is not None
    assert found["accuracy"] < 0.6


def test_mistakes_are_told(lake: Lakehouse) -> None:
    fill(lake, texts=4)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"folds": 1}, "--folds 1: must be at least 2"),
        ({"learning_rate": 0.0}, "--learning-rate must be above 0"),
        ({"least": 100}, "a classifier needs two"),
        ({"trained_on": "short"}, "reclassify_short_text"),
        ({"trained_on": "tall"}, "choose long, short or short-as-labelled"),
        ({"encoder_id": "X"}, "it has E: 1"),
    ]
    for options, message in wrong:
        with pytest.raises(UserError, match=message):
            train(lake, **options)


def test_a_model_learns_nothing_from_its_fold() -> None:
    model = FoldedClassifier(4, 3, SETTINGS)
    vectors, labels, folds = torch.randn(12, 4), torch.randint(0, 3, (12,)), torch.full((12,), 1)
    model.loss(vectors, labels, folds).backward()
    for parameter in [model.weights[-1], model.biases[-1]]:
        assert parameter.grad is not None
        assert [bool(of_model.abs().sum() > 0) for of_model in parameter.grad] == [True, False, True, True]
    # Held-out probabilities are those of the model of the text's fold.
    alone = torch.softmax(model(vectors)[1], dim=1)
    torch.testing.assert_close(model.held_out(vectors, folds), alone.detach())
    weights, bias = model.layers()[0]
    assert (weights.shape, bias.shape) == ((5, 4), (5,))


def test_quality_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(2)
    logits = random.standard_normal((500, 4)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(random.random(500) < 0.6, probabilities.argmax(axis=1), random.integers(0, 4, 500))
    quality = Quality.of(4)
    for start in range(0, 500, 130):
        quality.add(probabilities[start : start + 130], labels[start : start + 130])
    given = probabilities.argmax(axis=1)
    assert quality.accuracy == pytest.approx(accuracy_score(labels, given))
    assert quality.log_loss == pytest.approx(log_loss(labels, probabilities))
    precision, recall, f1, texts = precision_recall_fscore_support(labels, given)
    rows = quality.by_class()
    np.testing.assert_allclose([row[3] or 0.0 for row in rows], precision)
    np.testing.assert_allclose([row[4] for row in rows], recall)
    np.testing.assert_allclose([row[5] for row in rows], f1)
    assert [row[0] for row in rows] == texts.tolist()
    score = probabilities.max(axis=1)
    place = np.minimum((np.ceil(score * 15) - 1).astype(int), 14)
    expected = (
        sum(abs((given == labels)[place == b].sum() - score[place == b].sum()) for b in range(15)) / 500
    )
    assert quality.calibration_error == pytest.approx(expected)


def test_the_feed_gives_every_text_once_in_an_order_of_its_seed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "rows").mkdir()
    (tmp_path / "classes").mkdir()
    for number in range(2):
        ids = np.arange(number * 50, number * 50 + 50)
        vectors = pa.array([[float(i)] * 3 for i in ids], pa.list_(pa.float32()))
        table = pa.table(
            {"label": pa.array(ids, pa.int32()), "fold": pa.array(ids % 3, pa.int32()), "vector": vectors}
        )
        pq.write_table(table, tmp_path / "rows" / f"{number}.parquet", row_group_size=20)
    pq.write_table(pa.table({"class": ["b", "a"], "label": [1, 0]}), tmp_path / "classes" / "0.parquet")
    staged = Staged(tmp_path, "print", {"texts": 100, "dimension": 3})
    assert classes_of(staged) == ["a", "b"]

    def order(epoch: int, seed: int = 0) -> list[int]:
        batches = list(TextFeed(staged, seed=seed, batch_size=16, buffer_rows=30).batches(epoch))
        assert [len(batch.labels) for batch in batches] == [16] * 6 + [4]
        assert all(
            (batch.vectors[:, 0] == batch.labels).all() and (batch.folds == batch.labels % 3).all()
            for batch in batches
        )
        return [int(label) for batch in batches for label in batch.labels]

    first = order(1)
    assert sorted(first) == list(range(100))
    assert first == order(1)
    assert first != order(2)
    assert first != order(1, seed=1)
