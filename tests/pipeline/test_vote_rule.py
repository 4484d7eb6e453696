"""What the weekly run's vote is worth, by our own classifier's scores, against the generator's truth."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Task
from newslake.pipeline.runs import weekly
from newslake.run.cli import run_job
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles

DAY = "2019-11-15"
# The rule was chosen on seed 1. Title and abstract are encoded alone: a fifth of the tokens.
SPEC = GeneratorSpec(
    articles=2_000, users=10, impressions=10, body_share=1.0, late_share=0.0, short_texts=1_500, seed=3
)
FIELDS = ("title", "abstract")


def task(key: str) -> Task:
    """A task of the weekly run, with the options that it has there."""
    [found] = [task for task in weekly({}, as_of=DAY) if task.key == key]
    return found


def changes(lake: Lakehouse, folder: Path, as_of: str) -> tuple[int, float, float]:
    """Classes that a day's vote changed, the share of them that became right, and the share of wrong labels
    that did."""
    truth = lake.spark.read.parquet(str(folder / "truth" / "short_texts*")).select("news_id", "true_class")
    votes = (
        lake.read("short_text_votes").where(F.col("as_of") == as_of).join(truth, on="news_id", how="inner")
    )
    changed = F.col("decision") == "changed"
    right = changed & (F.col("voted_class") == F.col("true_class"))
    row = votes.agg(
        F.count_if(changed), F.count_if(right), F.count_if(F.col("old_class") != F.col("true_class"))
    ).head()
    assert row is not None
    return row[0], row[1] / row[0], row[1] / row[2]


@pytest.mark.slow
def test_what_the_weekly_run_changes_is_right(lake: Lakehouse, tmp_path: Path) -> None:
    generate(lake.spark, str(tmp_path), SPEC)
    long = lake.spark.read.json(str(tmp_path / "articles*.jsonl"))
    long.select("news_id", "title", "abstract", "body", F.col("category").alias("class")).write.json(
        str(tmp_path / "long.jsonl")
    )
    run_job(import_labels, lake, {"texts": [f"{tmp_path}/short_texts*.jsonl", f"{tmp_path}/long.jsonl"]})
    run_job(encode_articles, lake, {"fields": list(FIELDS)})
    for key in ("train_text_classifier", "reclassify_short_text"):
        run_job(task(key).job, lake, dict(task(key).options))
    number, precision, recall = changes(lake, tmp_path, DAY)
    print(f"{number} changes, precision {precision:.3f}, recall {recall:.3f}")
    assert number >= 30
    assert precision >= 0.95
    assert recall >= 0.1
    # The bar is one that a rule can miss here.
    loose: dict[str, Any] = {"votes": 12, "own_votes": 20, "as_of": "2019-11-16"}
    run_job(task("reclassify_short_text").job, lake, loose)
    assert changes(lake, tmp_path, "2019-11-16")[1] < 0.95
