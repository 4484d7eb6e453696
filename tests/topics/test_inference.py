"""Inference for LDA: against Spark's own, and that a text's topics are its own affair."""

import numpy as np
import pytest
from pyspark.ml.clustering import LDA
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.topics.inference import TopicModel, top_topics


def test_topics_are_those_that_sparks_own_model_gives(spark: SparkSession) -> None:
    generator = np.random.default_rng(5)
    vocabulary = [f"term{i}" for i in range(30)]
    # Texts of one or two of three blocks of terms.
    texts = [
        [vocabulary[10 * g + generator.integers(10)] for g in generator.choice(3, p=p, size=25)]
        for p in generator.dirichlet([0.4] * 3, 60)
    ]
    counts = [[text.count(term) for term in vocabulary] for text in texts]
    rows = spark.createDataFrame(
        [(i, Vectors.dense(one)) for i, one in enumerate(counts)], ["id", "features"]
    ).coalesce(1)
    fitted = LDA(k=3, maxIter=20, seed=1, optimizer="online", subsamplingRate=0.5).fit(rows)
    spark_rows = (
        fitted.transform(rows).orderBy("id").select(vector_to_array(F.col("topicDistribution"))).collect()
    )
    theirs = np.array([row[0] for row in spark_rows])
    model = TopicModel.fitted(
        "m", vocabulary, fitted.topicsMatrix().toArray(), fitted.estimatedDocConcentration().toArray()
    )
    ours = model.shares(texts)
    np.testing.assert_allclose(ours.sum(axis=1), 1.0)
    # Both stop where gamma moves by less than 0.001 on the mean, from different starts.
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.fixture
def model() -> TopicModel:
    generator = np.random.default_rng(3)
    return TopicModel.fitted(
        "m", [f"t{i}" for i in range(500)], generator.gamma(0.3, 1.0, (500, 12)) + 0.05, np.full(12, 0.1)
    )


def test_a_texts_topics_do_not_depend_on_what_stands_beside_it(
    model: TopicModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(4)
    texts = [
        [f"t{i}" for i in generator.integers(0, 600, size)] for size in generator.integers(0, 80, size=200)
    ]
    together = model.shares(texts)
    np.testing.assert_array_equal(np.concatenate([model.shares([text]) for text in texts]), together)
    monkeypatch.setattr("newslake.topics.inference._BLOCK", 100)
    np.testing.assert_array_equal(model.shares(texts), together)


def test_a_text_without_a_known_term_has_no_topic(model: TopicModel) -> None:
    shares = model.shares([["nobody", "knows"], ["t1"], []])
    assert np.isnan(shares[[0, 2]]).all()
    ids, weights = top_topics(shares, 2)
    assert ids[0].tolist() == ids[2].tolist() == [-1, -1]
    assert weights[0].tolist() == [0.0, 0.0]
    assert ids[1, 0] == shares[1].argmax()
    assert model.shares([]).shape == (0, 12)


def test_heaviest_first_ties_by_id() -> None:
    ids, weights = top_topics(np.array([[0.25, 0.25, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25]]), 2)
    assert ids.tolist() == [[2, 0], [0, 1]]
    assert weights.tolist() == [[0.5, 0.25], [0.25, 0.25]]
