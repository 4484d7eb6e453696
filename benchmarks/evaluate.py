"""Judging a recommender: scores and metrics of a million impressions in Spark, against a loop of scikit-learn
calls.

The vectors are random, the labels given by place, some 37 candidates an impression. Ours reads impressions
from Parquet, scores them from two files of vectors, and takes AUC, MRR, nDCG@5 and nDCG@10 of each. The loop
is given scores and labels in memory, and calls roc_auc_score and ndcg_score (scikit-learn has no MRR: numpy)
for each impression of a sample.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import ndcg_score, roc_auc_score

from common import CORES, Measures, PeakMemory, bench_arguments, bench_session
from newslake.training.judging.spark_evaluate import METRICS, metrics_of, scored, write_vectors
from newslake.training.metrics import impression_metrics

USERS, ARTICLES, DIM = 50_000, 20_000, 64
CANDIDATES = 37


def impressions(spark: SparkSession, folder: Path, count: int) -> DataFrame:
    """Written and read again: impression_key, user, articles, labels (one click or two, the rest skips)."""
    key = F.col("id")

    def number(place: Column, below: int) -> Column:
        return F.pmod(F.xxhash64(key, place), F.lit(below)).cast("int")

    places = F.sequence(F.lit(1), 2 + number(F.lit(0), 2 * CANDIDATES - 3))
    rows = spark.range(0, count, 1, 4 * CORES).select(
        key.alias("impression_key"),
        number(F.lit(-1), USERS).alias("user"),
        F.transform(places, lambda place: number(place, ARTICLES)).alias("articles"),
        F.transform(places, lambda place: ((place == 1) | (place % 30 == 0)).cast("tinyint")).alias("labels"),
    )
    rows.write.parquet(str(folder / "impressions"))
    return spark.read.parquet(str(folder / "impressions"))


def loop(scores: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    """(n, 4) metrics, an impression at a time."""
    found = []
    for of_one, label in zip(scores, labels, strict=True):
        ranks = np.argsort(np.argsort(-of_one, kind="stable"), kind="stable") + 1
        mrr = float((label / ranks).sum() / label.sum())
        ndcg = [ndcg_score(label[None], of_one[None], k=k) for k in (5, 10)]
        found.append((roc_auc_score(label, of_one), mrr, *ndcg))
    return np.array(found)


def main() -> None:
    """Run it all."""
    arguments = bench_arguments(
        "Judging recommenders: scores and ranking metrics in Spark against a loop of scikit-learn calls."
    )
    count, sample = (100_000, 1_000) if arguments.small else (1_000_000, 5_000)
    measures = Measures("Judging impressions", arguments.json)
    spark = bench_session("evaluation")
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = [random.standard_normal((rows, DIM), np.float32) for rows in (USERS, ARTICLES)]
        files = write_vectors(folder / "vectors", *vectors)
        rows = impressions(spark, folder, count)
        with_scores = scored(rows, *files, reader="user")
        few = with_scores.where(f"impression_key < {sample}").orderBy("impression_key").toArrow()
        of_sample = (
            metrics_of(with_scores.where(f"impression_key < {sample}")).orderBy("impression_key").toArrow()
        )

        began = time.perf_counter()
        with PeakMemory() as memory:
            means = metrics_of(with_scores).agg(F.count("*"), *(F.avg(metric) for metric in METRICS)).head()
        seconds = time.perf_counter() - began
    spark.stop()
    assert means is not None
    candidates = int(CANDIDATES * count)
    print(
        f"{means[0]:,} impressions, some {candidates:,} candidates: {seconds:.1f} s, peak"
        f" {memory.peak_mib:,.0f} MiB; AUC {means[1]:.4f}"
    )
    scores = [np.array(of_one, np.float64) for of_one in few["scores"].to_pylist()]
    labels = [np.array(of_one, np.int64) for of_one in few["labels"].to_pylist()]
    # One article twice in an impression is a tie, over which ours takes the mean; the loop's MRR does not.
    both = [i for i, score in enumerate(scores) if len(np.unique(score)) == len(score)]
    scores, labels = [scores[i] for i in both], [labels[i] for i in both]
    began = time.perf_counter()
    expected = loop(scores, labels)
    peer = len(scores) / (time.perf_counter() - began)
    ours = np.stack([of_sample[metric].to_numpy() for metric in METRICS], axis=1)[both]
    furthest = float(np.abs(ours - expected).max())
    offsets = np.concatenate(([0], np.cumsum([len(label) for label in labels])))
    began = time.perf_counter()
    impression_metrics(np.concatenate(scores).astype(np.float32), np.concatenate(labels), offsets)
    plain = len(scores) / (time.perf_counter() - began)
    told = "scikit-learn, one by one"
    measures.add(
        "impressions a second, scores and metrics in Spark",
        count / seconds,
        peer,
        unit="1/s",
        better="higher",
        peer_name=told,
    )
    measures.add(
        "impressions a second, metrics alone, numpy", plain, peer, unit="1/s", better="higher", peer_name=told
    )
    measures.add(
        "largest difference of a metric",
        max(furthest, 1e-17),
        1e-9,
        unit="",
        better="lower",
        peer_name="the bar",
    )
    measures.finish()


if __name__ == "__main__":
    main()
