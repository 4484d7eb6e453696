"""Articles about three subjects, and a small model of them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.intake.articles import content_hash
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import frame_of
from newslake.topics.fit import fit_topics
from tests.calling import call
from tests.tables import put

SUBJECTS: dict[str, list[str]] = {
    "sport": [
        "goal",
        "match",
        "team",
        "striker",
        "league",
        "coach",
        "referee",
        "penalty",
        "season",
        "stadium",
    ],
    "money": [
        "market",
        "stock",
        "bank",
        "shares",
        "profit",
        "investor",
        "bond",
        "inflation",
        "trader",
        "budget",
    ],
    "weather": [
        "storm",
        "rain",
        "wind",
        "forecast",
        "flood",
        "cloud",
        "hurricane",
        "temperature",
        "snow",
        "drought",
    ],
}
FIT: dict[str, Any] = {
    "topics": 3,
    "vector_size": 8,
    "top_terms": 5,
    "min_articles": 2,
    "passes": 8,
    "word_passes": 2,
    "max_share": 0.6,
}

Article = tuple[str, str, str | None, str | None, str | None]


def about(subject: str, number: int, words: int = 12) -> str:
    """A text of a subject's words; another number, another text."""
    return " ".join(np.random.default_rng(number).choice(SUBJECTS[subject], size=words))


def articles(each: int = 12) -> list[Article]:
    """`each` articles of every subject: news_id, title, abstract, body, published_at."""
    return [
        (
            f"{subject}-{i:03}",
            about(subject, i, 4),
            about(subject, 1000 + i),
            None,
            f"2019-11-{10 + i % 3} 08:00:00",
        )
        for subject in SUBJECTS
        for i in range(each)
    ]


def write_news(lake: Lakehouse, rows: Sequence[Article]) -> None:
    """Put articles into table news, with the hash of their text."""
    names = "news_id string, title string, abstract string, body string, published string"
    made = frame_of(lake.spark, list(rows), names).withColumn("content_hash", content_hash())
    made = made.withColumn("published_at", F.col("published").cast("timestamp")).drop("published")
    contract = lake.schema("news")
    known = {
        field.name: F.col(field.name) if field.name in made.columns else F.lit(None).cast(field.dataType)
        for field in contract
    }
    put(lake, "news", made.select(*(known[name].alias(name) for name in contract.names)))


def fitted(lake: Lakehouse, **options: Any) -> str:
    """One run of fit_topics with small settings; the id of its model."""
    run = JobRun("fit_topics")
    call(fit_topics, lake, run, **{**FIT, **options})
    return run.facts["topic_model"]


@pytest.fixture(scope="session")
def prepared(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lakehouses to copy: articles of three subjects, and the same with a model of them."""
    root = tmp_path_factory.mktemp("topics")
    lake = Lakehouse(spark, str(root / "modelled"))
    write_news(lake, articles())
    shutil.copytree(root / "modelled", root / "news")
    fitted(lake)
    return root


@pytest.fixture
def news(lake: Lakehouse, prepared: Path) -> Lakehouse:
    """A lakehouse with articles of three subjects."""
    shutil.copytree(prepared / "news", str(lake.root))
    return lake


@pytest.fixture
def modelled(spark: SparkSession, tmp_path: Path, prepared: Path) -> Lakehouse:
    """The same with a model fitted on them."""
    shutil.copytree(prepared / "modelled", tmp_path / "modelled")
    return Lakehouse(spark, str(tmp_path / "modelled"))
