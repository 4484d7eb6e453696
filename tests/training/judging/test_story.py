"""The tutorial's story on the built-in sample: MF learns its clicks by heart and knows nothing of new
articles; content does."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.training.recommender import train_recommender
from tests.calling import call


@pytest.mark.slow
def test_mf_fits_train_and_content_ranks_valid(spark: SparkSession, lake: Lakehouse, tmp_path: Path) -> None:
    generate(spark, str(tmp_path / "mind"), GeneratorSpec())
    parse_behaviors(
        lake, JobRun("parse_behaviors"), train=[f"{tmp_path}/mind/train"], dev=[f"{tmp_path}/mind/dev"]
    )
    call(encode_articles, lake, JobRun("encode_articles"))
    for model in ("mf", "content"):
        call(train_recommender, lake, JobRun("train_recommender"), model=model)
    metrics = lake.read("model_metrics")
    best = {row["model"]: row["auc"] for row in metrics.where("best AND split = 'valid'").collect()}
    fitted = (
        metrics.where("model = 'mf' AND split = 'train'").agg(F.max("auc").alias("auc")).collect()[0]["auc"]
    )
    assert fitted > 0.9
    assert 0.45 <= best["mf"] <= 0.55
    assert best["content"] >= 0.60
