"""compare_models --context: its weights are fitted on impressions by which no model is judged, and none of
which was trained on."""

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec, generate
from newslake.spark.frames import frame_of
from newslake.training.data.context import fit_weights, fitted
from newslake.training.judging.compare import compare_models
from tests.calling import call
from tests.tables import put

WORLD = GeneratorSpec(
    articles=600,
    users=150,
    impressions=2_200,
    dev_share=0.5,
    new_users=0.3,
    body_share=0.0,
    short_texts=0,
    seed=4,
)


@pytest.fixture(scope="module")
def compared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lakehouse, JobRun]:
    """mf, which learns train by heart, beside zero-shot on vectors that are all alike: it ties all, so
    +context is the context alone."""
    folder = tmp_path_factory.mktemp("context")
    generate(spark, str(folder / "mind"), WORLD)
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    parse_behaviors(
        lake, JobRun("test"), train=[str(folder / "mind" / "train")], dev=[str(folder / "mind" / "dev")]
    )
    alike = lake.read("news").select(
        "news_id",
        F.lit("test").alias("encoder_id"),
        "content_hash",
        F.lit(3).alias("tokens"),
        F.expr("array(1F)").alias("embedding"),
    )
    schema = lake.schema("article_embeddings")
    put(lake, "article_embeddings", alike.toDF(*schema.names))
    run = JobRun("compare_models")
    call(compare_models, lake, run, models=("zero-shot", "mf"), context=True, resamples=200)
    return lake, run


def test_a_model_that_knows_train_by_heart_loses_nothing_by_the_context(
    compared: tuple[Lakehouse, JobRun],
) -> None:
    lake, _ = compared
    rows = lake.read("model_comparison").where("users = 'all' AND metric = 'auc'").collect()
    auc = {row["model"]: row["value"] for row in rows}
    noise = max((row["high"] - row["low"]) / 2 for row in rows)
    on_train = lake.read("model_metrics").where("best AND split = 'train'").select("auc").head()
    assert on_train is not None
    assert on_train[0] > 0.9 > auc["mf"], "it knows train by heart, and not dev"
    assert auc["zero-shot"] == 0.5
    assert auc["zero-shot+context"] > 0.55, "the context alone is worth something here"
    assert auc["mf+context"] >= max(auc["mf"], auc["zero-shot+context"]) - noise


def test_what_is_fitted_on_is_not_judged_and_all_models_are_judged_alike(
    compared: tuple[Lakehouse, JobRun],
) -> None:
    lake, run = compared
    judged = {
        row[0]
        for row in lake.read("model_comparison")
        .where("users = 'all'")
        .select("impressions")
        .distinct()
        .collect()
    }
    fit = int(
        run.facts[
            "impressions that the context's weights are fitted on, which no model is judged by"
        ].replace(",", "")
    )
    # Every generated impression has both a click and a skip before earlier clicks are left out, which few
    # then lack.
    valid = int(run.facts["valid impressions"].replace(",", ""))
    assert len(judged) == 1
    assert 0.95 * valid < judged.pop() + fit <= valid
    assert fit == pytest.approx(valid / 5, rel=0.25)


def test_few_impressions_give_weights_that_are_bounded_and_none_are_refused(spark: SparkSession) -> None:
    # Two clicks that the first feature explains without fault: without a bound its weight would grow for
    # ever.
    found = fit_weights(
        np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]),
        np.array([1, 0, 1, 0], np.int8),
        np.array([0, 2, 4]),
    )
    assert 0.1 < found[0] < 3.0
    assert found[1] == 0.0
    # The ridge knows no units: a feature a thousand times as large has a thousandth of the weight.
    other = fit_weights(
        np.array([[1e3, 0.0], [0.0, 0.0], [2e3, 0.0], [0.0, 0.0]]),
        np.array([1, 0, 1, 0], np.int8),
        np.array([0, 2, 4]),
    )
    assert other[0] == pytest.approx(found[0] / 1e3)
    scored = frame_of(
        spark, [(1, [0.5, 0.1], [0, 0])], "impression_key bigint, scores array<float>, labels array<tinyint>"
    )
    features = frame_of(
        spark,
        [(1, [0.0, 0.0], [1.0, 1.0])],
        "impression_key bigint, popularity array<double>, age array<double>",
    )
    with pytest.raises(UserError, match="none has both a click and a skip"):
        fitted(scored, features)


def test_what_is_judged_is_the_rest_of_dev(compared: tuple[Lakehouse, JobRun]) -> None:
    """By the table impressions itself, less those that lost their only click or skip to the history."""
    lake, _ = compared
    key = F.xxhash64("split", "impression_id")
    dev = lake.read("impressions").where("split = 'dev'").groupBy("impression_id", key.alias("key"))
    both = dev.agg(F.max("clicked").alias("any"), F.min("clicked").alias("all")).where("any AND NOT all")
    left = both.where(F.pmod(F.xxhash64(F.lit("context"), F.col("key")), F.lit(5)) != 0).count()
    judged = lake.read("model_comparison").where("users = 'all'").select("impressions").first()
    assert judged is not None
    assert 0.95 * left < judged[0] <= left
