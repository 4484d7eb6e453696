"""What user vectors are worth: where a user's next clicked articles stand among all articles of that hour.

Generated users read for train's six days; profiles, phrases and vectors are made as of the seventh, dev, and nothing of that day goes
into them. For each click of dev, all articles that anybody was shown in the same hour are ranked for the user: by the
highest cosine of one of the user's vectors (ours); by clicks before that hour (popularity); at random. A rank is given as
the share of the hour's articles that stand before the clicked one, ties counting half: 0 is best, random gives 0.5.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from common import Measures, bench_arguments
from newslake.cli import run_job
from newslake.lakehouse import Lakehouse
from newslake.mind.generator import GeneratorSpec, generate
from newslake.mind.parse import parse_behaviors
from newslake.session import spark_session
from newslake.text.articles import encode_articles
from newslake.topics.article_vectors import build_article_vectors
from newslake.topics.assign import assign_topics
from newslake.topics.fit import fit_topics
from newslake.users.encode import encode_tag_phrases
from newslake.users.phrases import build_phrases
from newslake.users.profiles import build_profiles
from newslake.users.user_vectors import build_user_vectors

CORES = len(os.sched_getaffinity(0))
FIELDS = ("title", "abstract")
DEV_DAY = "2019-11-15"


def tables(spark: SparkSession, folder: Path, spec: GeneratorSpec) -> Lakehouse:
    """The whole way from MIND's files to user_vectors, job by job."""
    data = folder / "data"
    generate(spark, str(data), spec)
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    as_of = {"as_of": DEV_DAY}
    said = {"interests": str(data / "user_interests*.jsonl"), "queries": str(data / "search_queries*.jsonl")}
    steps: tuple[tuple[Callable[..., None], dict[str, Any]], ...] = (
        (parse_behaviors, {"train": [str(data / "train")], "dev": [str(data / "dev")]}),
        (encode_articles, {"fields": FIELDS}),
        (fit_topics, {}),
        (assign_topics, {}),
        (build_article_vectors, {}),
        (build_profiles, {**as_of, **said, "clock": "occurrence", "window_hours": 24.0 * 60}),
        (build_phrases, {**as_of, "fields": FIELDS}),
        (encode_tag_phrases, {**as_of, "fields": FIELDS}),
        (build_user_vectors, as_of),
    )
    for job, options in steps:
        run = run_job(job, lake, options)
        print(f"{job.__name__}: {run.seconds:.1f} s: {run.summary()}", flush=True)
    return lake


def matrix(rows: DataFrame, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Keys and unit vectors of a table of a few thousand rows."""
    found = rows.select(key, "vector").toArrow().to_pandas()
    vectors = np.stack(found["vector"].map(np.asarray).tolist()).astype(np.float32)
    return found[key].to_numpy(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def share_before(scores: np.ndarray, wanted: int) -> float:
    """Share of the others that stand before one, ties counting half."""
    others = np.delete(scores, wanted)
    return float(((others > scores[wanted]).sum() + 0.5 * (others == scores[wanted]).sum()) / max(len(others), 1))


def ranks(lake: Lakehouse) -> dict[str, float]:
    """The mean rank of dev's clicks by each way, over the users who have vectors."""
    articles, of_article = matrix(lake.read("article_vectors"), "news_id")
    users, of_user = matrix(lake.read("user_vectors").where(F.col("as_of") == DEV_DAY), "user_id")
    place = {news_id: row for row, news_id in enumerate(articles)}
    shown = lake.read("impressions").select("split", "user_id", "news_id", "clicked", F.date_trunc("hour", "occurred_at").alias("hour"))
    candidates = shown.toArrow().to_pandas().sort_values("hour", kind="stable")
    popularity = np.zeros(len(articles))
    clicks = candidates[(candidates["split"] == "train") & candidates["clicked"]]
    np.add.at(popularity, [place[news_id] for news_id in clicks["news_id"] if news_id in place], 1.0)
    rows_of: dict[str, np.ndarray] = {user: np.flatnonzero(users == user) for user in set(users)}
    draw = np.random.default_rng(0)
    found: dict[str, list[float]] = {"ours": [], "popularity": [], "random": []}
    without = 0
    for _, hour in candidates[candidates["split"] == "dev"].groupby("hour"):
        out = np.unique([place[news_id] for news_id in hour["news_id"] if news_id in place])
        clicked = hour[hour["clicked"]]
        for user, news_id in zip(clicked["user_id"], clicked["news_id"], strict=True):
            if user not in rows_of or news_id not in place or len(out) < 2:
                without += 1
                continue
            wanted = int(np.searchsorted(out, place[news_id]))
            found["ours"].append(share_before((of_article[out] @ of_user[rows_of[user]].T).max(axis=1), wanted))
            found["popularity"].append(share_before(popularity[out], wanted))
            found["random"].append(share_before(draw.random(len(out)), wanted))
        np.add.at(popularity, [place[news_id] for news_id in clicked["news_id"] if news_id in place], 1.0)
    print(f"{len(found['ours']):,} clicks of dev ranked; {without:,} of users without vectors, or of articles without one, left out")
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    """Run it all."""
    arguments = bench_arguments("User vectors: the mean rank of a user's next clicks among the articles of the hour.")
    spec = (
        GeneratorSpec(articles=800, users=120, impressions=1_000, truth=False)
        if arguments.small
        else GeneratorSpec(articles=6_000, users=1_500, impressions=12_000, truth=False)
    )
    measures = Measures("User vectors", arguments.json)
    spark = spark_session("user vectors benchmark", master=f"local[{CORES}]", extra={"spark.ui.showConsoleProgress": "false"})
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        mean = ranks(tables(spark, Path(folder), spec))
    spark.stop()
    for peer in ("random", "popularity"):
        measures.add(f"mean rank against {peer}", mean["ours"], mean[peer], unit="share before", better="lower", peer_name=peer)
    measures.finish()


if __name__ == "__main__":
    main()
