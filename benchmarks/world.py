"""The generated world that the benchmarks of users and feeds share: the whole way from MIND's files to
user_vectors, job by job.

Generated users read for train's six days; profiles, phrases and vectors are made as of the start of the
seventh, dev, so that nothing of that day goes into them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import run_job
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from newslake.users.encode import encode_tag_phrases
from newslake.users.phrases import build_phrases
from newslake.users.profiles import build_profiles
from newslake.users.user_vectors import build_user_vectors

FIELDS = ("title", "abstract")
DEV_DAY = "2019-11-15"
SEED = 2
"""Of the world that figures are reported on. The jobs' defaults were chosen on that of seed 1."""


def world_spec(small: bool, seed: int = SEED) -> GeneratorSpec:
    """Half of the impressions fall on dev, so that its 24 hours have over 2,000 pairs of a user and an hour
    with a click."""
    if small:
        return GeneratorSpec(
            articles=800, users=100, impressions=1_600, dev_share=0.5, short_texts=0, truth=False, seed=seed
        )
    return GeneratorSpec(
        articles=2_500, users=500, impressions=6_000, dev_share=0.5, short_texts=0, truth=False, seed=seed
    )


def tables(
    spark: SparkSession, folder: Path, spec: GeneratorSpec, *, days: Sequence[str] = (DEV_DAY,)
) -> Lakehouse:
    """Every table up to user_vectors, in a lakehouse below the folder. Steps that ran there before have
    nothing left to do.

    Users have profiles and vectors of each of the days, as of its start.
    """
    data = folder / "data"
    generate(spark, str(data), spec)
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    said = {"interests": str(data / "user_interests*.jsonl"), "queries": str(data / "search_queries*.jsonl")}
    steps: tuple[tuple[Callable[..., None], dict[str, Any]], ...] = (
        (parse_behaviors, {"train": [str(data / "train")], "dev": [str(data / "dev")]}),
        (encode_articles, {"fields": FIELDS}),
        (fit_topics, {}),
        (assign_topics, {}),
        (build_article_vectors, {}),
    )
    for day in days:
        as_of = {"as_of": day}
        steps += (
            (build_profiles, {**as_of, **said, "clock": "occurrence", "window_hours": 24.0 * 60}),
            (build_phrases, {**as_of, "fields": FIELDS}),
            (encode_tag_phrases, {**as_of, "fields": FIELDS}),
            (build_user_vectors, as_of),
        )
    for job, options in steps:
        run = run_job(job, lake, options)
        print(f"{job.__name__}: {run.seconds:.1f} s: {run.summary()}", flush=True)
    return lake


def matrix(rows: DataFrame, key: str, weight: str | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, unit vectors and weights (1 where no column is named) of a table of some ten thousand rows."""
    found = rows.select(key, "vector", *([weight] if weight else [])).toArrow().to_pandas()
    vectors = np.stack(found["vector"].map(np.asarray).tolist()).astype(np.float32)
    weights = found[weight].to_numpy() if weight else np.ones(len(found))
    return found[key].to_numpy(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), weights
