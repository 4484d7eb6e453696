"""Matching tag phrases: the matchers against each other, against Spark's approxSimilarityJoin used the plain
way, and growth.

The phrases are generated: distinct sets of 1 to 10 tags, tags by Zipf's law over a million, and HOT tags that
are in one set in five. Of the new sets 60% are made from stored ones, half of them equal, the others with a
tag more, less or exchanged, so that they reach 0.8; the rest are drawn as the stored ones are. Sets of fewer
than 4 tags match at 0.8 only where they are equal.

Recall is against brute force over all stored sets for a sample of the new ones (exact), and against exact for
all (the others).
"""

import multiprocessing
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.feature import HashingTF, MinHashLSH
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from scipy import sparse

from common import CORES, Measures, PeakMemory, bench_arguments, bench_session
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames
from newslake.text.embed import embed_column
from newslake.text.spec import EncoderSpec, resolve
from newslake.users.encode import encode_tag_phrases
from newslake.users.matching import Matcher, matcher
from newslake.users.sets import phrase_id, phrase_text, tag_set

THRESHOLD = 0.8
TAGS = 1_000_000
HOT = 5
LARGEST = 10
PLAIN_LIMIT_S = 600.0
DRIVER_MEMORY = "3g"

Sets = np.ndarray  # [n, LARGEST] of tag numbers, -1 where there is none; each row sorted


def draw_sets(rng: np.random.Generator, n: int) -> Sets:
    """Sets as they come, repeated ones among them."""
    sizes = rng.integers(1, LARGEST + 1, n)
    tags = np.floor(float(TAGS) ** rng.random((n, LARGEST))).astype(np.int64) + HOT  # density ~ 1 / rank
    hot = rng.random((n, HOT)) < 0.2
    tags[:, :HOT] = np.where(hot, np.arange(HOT), tags[:, :HOT])
    tags[np.arange(LARGEST) >= sizes[:, None]] = -1
    return tidy(tags)


def tidy(tags: Sets) -> Sets:
    """Each row sorted, repeats out."""
    tags = np.sort(tags, axis=1)
    tags[:, 1:][(tags[:, 1:] == tags[:, :-1])] = -1
    return np.sort(tags, axis=1)


def distinct(tags: Sets) -> Sets:
    """The first of each set; none is empty."""
    weights = np.random.default_rng(1).integers(1, 2**63, TAGS + HOT + 2, dtype=np.uint64)
    weights[-1] = 0  # of -1
    hashes = np.bitwise_xor.reduce(weights[tags], axis=1)
    first = np.sort(np.unique(hashes, return_index=True)[1])
    return tags[first][(tags[first] >= 0).any(axis=1)]


def changed(rng: np.random.Generator, tags: Sets) -> Sets:
    """Sets at 0.8 or over to the given ones: half equal, the others changed by a tag where their size lets
    them."""
    tags = tags.copy()
    sizes, rows = (tags >= 0).sum(axis=1), np.arange(len(tags))
    kind = rng.integers(0, 6, len(tags))
    new = np.floor(float(TAGS) ** rng.random(len(tags))).astype(np.int64) + HOT
    last, free = (
        LARGEST - 1 - (rng.random(len(tags)) * sizes).astype(np.int64),
        np.maximum(LARGEST - 1 - sizes, 0),
    )
    drop, add, exchange = (
        (kind == 3) & (sizes >= 5),
        (kind == 4) & (sizes >= 4) & (sizes < LARGEST),
        (kind == 5) & (sizes >= 9),
    )
    tags[rows[drop], last[drop]] = -1
    tags[rows[add], free[add]] = new[add]
    tags[rows[exchange], last[exchange]] = new[exchange]
    return tidy(tags)


def make(folder: Path, new: int, stored: int, seed: int) -> None:
    """Write new.npy, stored.npy (tag numbers) and the same as Parquet with tags as text."""
    rng = np.random.default_rng(seed)
    known = distinct(draw_sets(rng, int(stored * 1.35)))[:stored]
    matching = changed(rng, known[rng.permutation(len(known))[: int(new * 0.62)]])
    some = np.concatenate([matching[: int(new * 0.61)], draw_sets(rng, new)])
    fresh = distinct(some)[:new]
    for name, sets in (("new", rng.permutation(fresh)), ("stored", known)):
        np.save(folder / f"{name}.npy", sets.astype(np.int32))
        (folder / name).mkdir()
        for part, start in enumerate(range(0, len(sets), 250_000)):
            chunk = sets[start : start + 250_000]
            there = chunk >= 0
            text = pa.array(np.char.add("tag ", chunk[there].astype(str)), pa.string())
            ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
            pq.write_table(
                pa.table({"tags": pa.ListArray.from_arrays(pa.array(ends), text)}),
                folder / name / f"{part:04d}.parquet",
            )


def generated(folder: Path, new: int, stored: int) -> Path:
    """The folder of one data set, made once, in a process of its own, whose memory is not counted."""
    folder = folder / f"{new}-{stored}"
    if folder.exists():
        return folder
    folder.mkdir()
    process = multiprocessing.get_context("spawn").Process(
        target=make, args=(folder, new, stored, new + stored)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    return folder


def sides(spark: SparkSession, folder: Path) -> tuple[DataFrame, DataFrame]:
    """New and stored phrases."""
    return spark.read.parquet(str(folder / "new")), spark.read.parquet(str(folder / "stored"))


def timed_best(how: Matcher, spark: SparkSession, folder: Path, results: Path) -> tuple[float, float, int]:
    """Find the best matches and write them: seconds, peak MiB, number of matches."""
    new, stored = sides(spark, folder)
    began = time.perf_counter()
    with PeakMemory() as memory, Frames() as frames:
        how.best(new, stored, THRESHOLD, frames).write.mode("overwrite").parquet(str(results))
    return time.perf_counter() - began, memory.peak_mib, spark.read.parquet(str(results)).count()


def brute_force_recall(spark: SparkSession, folder: Path, results: Path, sample: int) -> float:
    """The share of a sample's best similarities, by a sparse matrix product with all stored sets, that the
    results have."""
    new, stored = (np.load(folder / f"{name}.npy") for name in ("new", "stored"))
    chosen = new[np.random.default_rng(0).permutation(len(new))[:sample]]
    known, sizes = indicator(stored).T.tocsc(), (stored >= 0).sum(axis=1)
    best = np.zeros(len(chosen))
    for start in range(0, len(chosen), 20):
        part = chosen[start : start + 20]
        shared = (indicator(part) @ known).tocoo()
        scores = shared.data / ((part >= 0).sum(axis=1)[shared.row] + sizes[shared.col] - shared.data)
        np.maximum.at(best, start + shared.row, scores)
    tags = [[f"tag {tag}" for tag in row[row >= 0]] for row in chosen]
    rows = spark.createDataFrame([(i, one) for i, one in enumerate(tags)], "row int, tags array<string>")
    found = rows.select("row", phrase_id(F.col("tags")).alias("phrase_id")).join(
        spark.read.parquet(str(results)), on="phrase_id", how="left"
    )
    scores = {row["row"]: row["jaccard"] or 0.0 for row in found.select("row", "jaccard").collect()}
    right = [abs(scores[i] - (score if score >= THRESHOLD else 0.0)) < 1e-12 for i, score in enumerate(best)]
    there = int((best >= THRESHOLD).sum())
    print(
        f"  brute force over {len(stored):,} stored sets: {sum(right)} of {len(right)} sampled phrases right,"
        f" {there} match"
    )
    return float(np.mean(right))


def indicator(sets: Sets) -> sparse.csr_matrix:
    """One row a set, one column a tag."""
    there = sets >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return sparse.csr_matrix(
        (np.ones(there.sum(), np.float32), sets[there], ends), shape=(len(sets), TAGS + HOT + 1)
    )


def matchers(measures: Measures, spark: SparkSession, scratch: Path, sizes: dict[str, int]) -> float:
    """All matchers on one data set, each as a peer of exact; returns the seconds of exact."""
    n = sizes["all"]
    folder = generated(scratch, n, n)
    timed_best(matcher("exact"), spark, generated(scratch, 20_000, 20_000), scratch / "warm")
    seconds, peak, found = timed_best(matcher("exact"), spark, folder, scratch / "exact")
    print(f"exact: {n:,} against {n:,}: {seconds:.1f} s, peak {peak:,.0f} MiB, {found:,} matches", flush=True)
    recall = brute_force_recall(spark, folder, scratch / "exact", 500)
    measures.add(
        "recall of exact", recall, 1.0, unit="share", better="higher", peer_name="brute force, sampled"
    )
    others(measures, spark, scratch, folder, "minhash", (seconds, peak))
    few = min(n, sizes["datasketch"])
    small = folder if few == n else generated(scratch, few, few)
    base = (seconds, peak) if few == n else timed_best(matcher("exact"), spark, small, scratch / "exact")[:2]
    others(measures, spark, scratch, small, "datasketch", base)
    return seconds


def others(
    measures: Measures,
    spark: SparkSession,
    scratch: Path,
    folder: Path,
    name: str,
    exact: tuple[float, float],
) -> None:
    """A matcher that may miss some, against exact's results of the same data, which lie in scratch/exact."""
    seconds, peak, found = timed_best(matcher(name), spark, folder, scratch / name)  # type: ignore[arg-type]
    both = (
        spark.read.parquet(str(scratch / "exact"))
        .alias("e")
        .join(spark.read.parquet(str(scratch / name)).alias("o"), on="phrase_id", how="left")
    )
    row = both.agg(F.count("*"), F.count_if(F.col("o.jaccard") == F.col("e.jaccard"))).head()
    assert row is not None
    size = folder.name.split("-")[0]
    print(f"{name}: {int(size):,}: {seconds:.1f} s, peak {peak:,.0f} MiB, {found:,} matches", flush=True)
    measures.add(f"seconds at {int(size):,}", exact[0], seconds, unit="s", better="lower", peer_name=name)
    measures.add(f"peak memory at {int(size):,}", exact[1], peak, unit="MiB", better="lower", peer_name=name)
    measures.add(
        f"best matches found at {int(size):,}",
        1.0,
        row[1] / max(row[0], 1),
        unit="share",
        better="higher",
        peer_name=name,
    )


def plain_join(spark: SparkSession, folder: Path, limit_s: float) -> float | None:
    """approxSimilarityJoin as its documentation shows it, 5 tables: seconds, or None where it took longer
    than the limit."""
    vectors = HashingTF(inputCol="tags", outputCol="vector", binary=True)
    new, stored = (vectors.transform(side) for side in sides(spark, folder))
    model = MinHashLSH(inputCol="vector", outputCol="hashes", numHashTables=5, seed=0).fit(stored)
    joined = model.approxSimilarityJoin(new, stored, 1.0 - THRESHOLD + 1e-9, distCol="distance")
    spark.sparkContext.setJobGroup("plain", "approxSimilarityJoin", interruptOnCancel=True)
    late = threading.Timer(limit_s, lambda: spark.sparkContext.cancelJobGroup("plain"))
    late.start()
    began = time.perf_counter()
    try:
        joined.write.format("noop").mode("overwrite").save()
    except Exception as error:
        if time.perf_counter() - began < limit_s:
            raise error
        return None
    finally:
        late.cancel()
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
    return time.perf_counter() - began


def against_plain(
    measures: Measures, spark: SparkSession, scratch: Path, sizes: list[int], limit_s: float
) -> None:
    """Ever more phrases until approxSimilarityJoin does not finish in time; the last size that it did is the
    measure."""
    last: tuple[int, float, float] | None = None
    for n in sizes:
        folder = generated(scratch, n, n)
        plain = plain_join(spark, folder, limit_s)
        print(
            f"approxSimilarityJoin: {n:,} against {n:,}: {f'{plain:.1f} s' if plain else 'not in time'}",
            flush=True,
        )
        if plain is None:
            break
        ours = timed_best(matcher("exact"), spark, folder, scratch / "ours")[0]
        last = (n, ours, plain)
    if last is not None:
        n, ours, plain = last
        measures.add(
            f"seconds at {n:,}",
            ours,
            plain,
            unit="s",
            better="lower",
            peer_name="approxSimilarityJoin, 5 tables",
        )


def growth(
    measures: Measures,
    spark: SparkSession,
    scratch: Path,
    base: tuple[int, float],
    sizes: list[tuple[int, int]],
) -> None:
    """exact at larger sizes: seconds for a million sets of both sides, against those of the base."""
    for new, stored in sizes:
        folder = generated(scratch, new, stored)
        seconds, peak, found = timed_best(matcher("exact"), spark, folder, scratch / "exact")
        print(
            f"exact: {new:,} against {stored:,}: {seconds:.1f} s, peak {peak:,.0f} MiB, {found:,} matches",
            flush=True,
        )
        if new == stored == 10_000_000:
            measures.add(
                "minutes at 10,000,000", seconds / 60, 30.0, unit="min", better="lower", peer_name="the bar"
            )
        ratio = (seconds / (new + stored)) / (base[1] / (2 * base[0]))
        name = f"growth to {new:,} against {stored:,}, linear = 1"
        measures.add(name, ratio, 1.3, unit="ratio", better="lower", peer_name="the bar")
        for path in (folder / "new", folder / "stored"):
            shutil.rmtree(path)


def whole_days(measures: Measures, spark: SparkSession, scratch: Path, phrases: int) -> None:
    """encode_tag_phrases on two days, 90% of the second day's phrases known, against encoding all of the
    second day's."""
    lake = Lakehouse(spark, str(scratch / "lakehouse"))
    pool = generated(scratch, 1_000, int(phrases * 1.1))
    ranked = spark.read.parquet(str(pool / "stored")).select(
        "tags", phrase_id(F.col("tags")).alias("phrase_id")
    )
    ranked = ranked.withColumn("share", F.percent_rank().over(Window.orderBy("phrase_id"))).localCheckpoint()
    for day, rows in (
        ("2019-11-15", ranked.where("share < 1.0 / 1.1")),
        ("2019-11-16", ranked.where("share >= 0.1 / 1.1")),
    ):
        texts = rows.select(
            "phrase_id", tag_set(F.col("tags")).alias("tags"), phrase_text(F.col("tags")).alias("text")
        )
        made = texts.select(
            "*",
            F.lit(day).cast("date").alias("as_of"),
            F.lit("u").alias("user_id"),
            F.lit(0).alias("tag_group"),
        )
        lake.merge(
            "user_phrases",
            made.select("*", F.lit(1.0).alias("weight"), F.lit("e").alias("encoder_id")),
            update=False,
        )
    second = (
        lake.read("user_phrases")
        .where("as_of = '2019-11-16'")
        .select("phrase_id", "text")
        .repartition(2 * CORES, "phrase_id")
    )
    resolved = resolve(EncoderSpec())
    embed_column(second.limit(100), "text", None, resolved).write.format("noop").mode("overwrite").save()
    began = time.perf_counter()
    embed_column(second, "text", None, resolved).write.format("noop").mode("overwrite").save()
    alone = time.perf_counter() - began
    taken = []
    for day in ("2019-11-15", "2019-11-16"):
        run = JobRun("encode_tag_phrases")
        encode_tag_phrases(lake, run, as_of=day)
        taken.append(run.seconds)
        print(f"{day}: {run.seconds:.1f} s: {run.summary()}", flush=True)
    print(f"encoding all of the second day's {second.count():,} phrases, and nothing else: {alone:.1f} s")
    measures.add(
        "seconds of a day, 90% known",
        taken[1],
        alone,
        unit="s",
        better="lower",
        peer_name="encoding all of it",
    )
    measures.add(
        "share of encoding all", taken[1] / alone, 0.2, unit="share", better="lower", peer_name="the bar"
    )


def main() -> None:
    """Run it all."""
    arguments = bench_arguments(
        "Matching tag phrases: the matchers, Spark's approxSimilarityJoin, growth, and a day's whole cost."
    )
    measures = Measures("Matching tag phrases", arguments.json)
    spark = bench_session("phrases", settings={"spark.driver.memory": DRIVER_MEMORY})
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if arguments.small:
            seconds = matchers(measures, spark, scratch, {"all": 50_000, "datasketch": 10_000})
            against_plain(measures, spark, scratch, [10_000, 30_000], 60.0)
            growth(measures, spark, scratch, (50_000, seconds), [(150_000, 150_000)])
            whole_days(measures, spark, scratch, 4_000)
        else:
            seconds = matchers(measures, spark, scratch, {"all": 1_000_000, "datasketch": 100_000})
            against_plain(measures, spark, scratch, [30_000, 80_000, 100_000, 200_000], PLAIN_LIMIT_S)
            growth(
                measures,
                spark,
                scratch,
                (1_000_000, seconds),
                [(3_000_000, 10_000_000), (10_000_000, 10_000_000)],
            )
            whole_days(measures, spark, scratch, 200_000)
    spark.stop()
    measures.finish()


if __name__ == "__main__":
    main()
