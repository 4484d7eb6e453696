"""The evidence for find_stories: near-copies that the generator made, and which of them are found, by thresholds chosen on another seed.

Generated news with 20 % near-copies (a word here and there, another subcategory and source, up to two days later) go through the jobs as
a user runs them: parse_behaviors, encode_articles, find_stories. Two articles of one story are a pair: precision is the share of found
pairs that the truth has, recall the share of the truth's pairs that were found. The truth has pairs that differ by chance alone (two titles
of the same frame, entity and thing) as different stories, so that precision cannot reach 1.

The thresholds come from a table over the first seed (--choose prints it); the defaults of the job are the best there. What is reported are
two other seeds, by the job with its defaults.
"""

import argparse
import os
import tempfile
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from common import Measures
from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.mind.generator import GeneratorSpec, generate
from newslake.mind.parse import parse_behaviors
from newslake.ranking.leaders import joined
from newslake.ranking.stories import articles, find_stories
from newslake.session import spark_session
from newslake.text.articles import encode_articles

CORES = len(os.sched_getaffinity(0))
CHOSEN_ON, REPORTED = 11, (12, 13)
COSINES, ALONE = np.arange(0.80, 0.991, 0.02), (0.94, 0.96, 0.98, 0.99, 1.01)
DEFAULTS = {name: signature(find_stories).parameters[name].default for name in ("days", "min_cosine", "min_cosine_alone")}


def arguments() -> argparse.Namespace:
    """As every benchmark, --choose and --encoder."""
    parser = argparse.ArgumentParser(description="Near-copies that find_stories finds: precision and recall of pairs.")
    parser.add_argument("--small", action="store_true", help="fewer articles, one seed")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures there too")
    parser.add_argument("--choose", action="store_true", help=f"print the table of thresholds on seed {CHOSEN_ON} instead")
    parser.add_argument("--encoder", default=None, metavar="MODEL", help="a model id or folder (default: the built-in one)")
    return parser.parse_args()


def filled(spark: SparkSession, scratch: str, seed: int, count: int, encoder: str | None) -> tuple[Lakehouse, "pd.Series[str]"]:
    """A lakehouse with encoded news, and each copy's original."""
    folder, lake = f"{scratch}/data{seed}", Lakehouse(spark, f"{scratch}/lakehouse{seed}")
    spec = GeneratorSpec(articles=count, users=10, impressions=10, copies=0.2, body_share=0.0, short_texts=0, seed=seed)
    generate(spark, folder, spec)
    job(lake, parse_behaviors, train=(f"{folder}/train",), dev=(f"{folder}/dev",))
    # Few were ever shown, which is what MIND's news have for a date.
    dates = spark.read.parquet(f"{folder}/truth/articles*").select("news_id", F.col("published_at").alias("true_time"))
    dated = lake.read("news").join(dates, on="news_id", how="inner").withColumn("published_at", F.col("true_time"))
    lake.merge("news", dated.drop("true_time").localCheckpoint())
    job(lake, encode_articles, fields=("title", "abstract"), **({} if encoder is None else {"encoder": encoder}))
    copies = spark.read.parquet(f"{folder}/truth/copies*").toPandas()
    return lake, copies.set_index("news_id")["original_id"]


def job(lake: Lakehouse, function: Any, **options: Any) -> JobRun:
    """Run one job, and say what it did."""
    run = JobRun(function.__name__)
    function(lake, run, **options)
    print(f"{function.__name__}: {run.summary()}", flush=True)
    return run


def quality(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Precision and recall of the pairs that two groupings make, and the number of found pairs."""

    def pairs(*labels: np.ndarray) -> float:
        sizes = pd.DataFrame(dict(enumerate(labels))).value_counts().to_numpy()
        return float((sizes * (sizes - 1) // 2).sum())

    right, said, there = pairs(found, true), pairs(found), pairs(true)
    return right / max(said, 1.0), right / max(there, 1.0), said


def choose(lake: Lakehouse, originals: "pd.Series[str]") -> None:
    """Print precision and recall of each pair of thresholds, as the job would cluster by them."""
    vectors = lake.read("article_embeddings").select("news_id", "embedding")
    rows = articles(lake.read("news")).join(vectors, on="news_id", how="inner").toPandas().sort_values(["published_at", "news_id"])
    unit = np.stack(rows["embedding"].to_numpy()).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    hours = rows["published_at"].to_numpy().astype("datetime64[s]").astype(np.int64) / 3_600
    later, earlier = np.nonzero(np.tril(unit @ unit.T >= COSINES[0], -1) & (hours[:, None] - hours[None, :] <= 24 * DEFAULTS["days"]))
    cosine = np.einsum("ij,ij->i", unit[later], unit[earlier]).astype(np.float32)
    named = [set(one) for one in rows["named"]]
    shares = np.array([bool(named[a] & named[b]) for a, b in zip(later, earlier, strict=True)], bool)
    names = rows["news_id"].to_numpy()
    true = rows["news_id"].map(originals).fillna(rows["news_id"]).to_numpy()
    none = np.zeros(len(names), bool)
    print("\nprecision / recall of pairs, by --min-cosine (down) and --min-cosine-alone (across; 1.01: never alone)")
    print(" " * 6 + "".join(f"{alone:^16.2f}" for alone in ALONE))
    for bound in COSINES:
        cells = []
        for alone in ALONE:
            kept = (cosine >= bound) & (shares | (cosine >= max(alone, bound)))
            precision, recall, _ = quality(names[joined(later[kept], earlier[kept], cosine[kept], none, none)], true)
            cells.append(f"{precision:.4f} / {recall:.4f}")
        print(f"{bound:.2f}  " + "".join(f"{cell:^16}" for cell in cells))


def main() -> None:
    """Run it all."""
    given = arguments()
    count, seeds = (1_500, REPORTED[:1]) if given.small else (4_000, REPORTED)
    measures = Measures("Stories", given.json)
    spark = spark_session("stories", master=f"local[{CORES}]", extra={"spark.ui.showConsoleProgress": "false"})
    spark.sparkContext.setLogLevel("ERROR")
    with tempfile.TemporaryDirectory() as scratch:
        if given.choose:
            choose(*filled(spark, scratch, CHOSEN_ON, count, given.encoder))
        for seed in () if given.choose else seeds:
            lake, originals = filled(spark, scratch, seed, count, given.encoder)
            job(lake, find_stories)
            rows = lake.read("stories").select("news_id", "story_id").toPandas()
            true = rows["news_id"].map(originals).fillna(rows["news_id"])
            precision, recall, said = quality(rows["story_id"].to_numpy(), true.to_numpy())
            print(f"seed {seed}: {len(rows):,} articles, {said:,.0f} pairs found")
            measures.add(f"precision of pairs, seed {seed}", precision, 1.0, unit="share", better="higher", peer_name="the truth")
            measures.add(f"recall of pairs, seed {seed}", recall, 1.0, unit="share", better="higher", peer_name="the truth")
    spark.stop()
    if not given.choose:
        measures.finish()


if __name__ == "__main__":
    main()
