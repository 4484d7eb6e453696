"""Exact top 20: ours plain and in Spark against faiss (IndexFlatIP, and Panorama, its newest exact index),
torch matmul + topk, and Spark's own join to the nearest, same cores, one run.

Every contender starts from the same Delta tables and ends with ids and scores. The vectors are random (the
hardest case for a bound: all scores lie close together) and those of sentences: generated short texts through
the built-in encoder. Memory is measured before the peers load anything. Then the newsfeed's shape: many user
vectors on few articles, against its product's own time. Spark's join scores every pair in the JVM and sorts
pairs with both their vectors, so it is asked at a size of its own.

Panorama (https://arxiv.org/abs/2510.00566) stops reading a vector once its first dimensions say that it is
too far. It pays where these hold most of the length, so it gets the vectors rotated by a PCA of the items,
which changes no inner product.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from common import CORES, Measures, PeakMemory, bench_arguments, bench_session, sgemm_gflops
from newslake.lake.lakehouse import Lakehouse
from newslake.sample import GeneratorSpec, generate
from newslake.search.knn import Items, TopK
from newslake.search.knn_settings import KnnSettings
from newslake.search.nearest import nearest
from newslake.search.product import resolved, rounded
from newslake.search.scratch import table_files
from newslake.search.vector_files import VectorFiles, ahead, chunks
from newslake.text.embed import embed_column
from newslake.text.spec import EncoderSpec, resolve

K = 20
TABLE = "article_embeddings"
PLAIN = KnnSettings(threads=CORES)
ROWS_PER_BATCH = 10_000
FILES = 2 * CORES
PANORAMA_LEVELS = 8
Answer = tuple[np.ndarray, np.ndarray]  # ids as numbers (q, k), scores (q, k)


@dataclass(frozen=True)
class Sides:
    """The two sides of one search, and what a name for them is."""

    name: str
    queries: VectorFiles
    items: VectorFiles
    query_count: int
    item_count: int
    dimension: int

    @property
    def gflop(self) -> float:
        """Of the product alone."""
        return 2.0 * self.query_count * self.item_count * self.dimension / 1e9


def random_rows(spark: SparkSession, name: str, rows: int, dimension: int, seed: int) -> DataFrame:
    """Rows of article_embeddings: unit vectors in random directions, made batch by batch in the workers."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = batch.column(0).to_numpy()
            for start in range(0, len(numbers), ROWS_PER_BATCH):
                part = numbers[start : start + ROWS_PER_BATCH]
                vectors = np.random.default_rng([seed, int(part[0])]).standard_normal(
                    (len(part), dimension), np.float32
                )
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                ends = pa.array(np.arange(len(part) + 1, dtype=np.int32) * dimension)
                columns = [
                    pa.array([f"N{i:09}" for i in part]),
                    pa.array([name] * len(part)),
                    pa.array([""] * len(part)),
                    pa.array(np.full(len(part), 1, np.int32)),
                    pa.ListArray.from_arrays(ends, pa.array(vectors.ravel())),
                ]
                yield pa.RecordBatch.from_arrays(
                    columns, ["news_id", "encoder_id", "content_hash", "token_count", "embedding"]
                )

    schema = "news_id string, encoder_id string, content_hash string, token_count int, embedding array<float>"
    return spark.range(0, rows, 1, FILES).mapInArrow(make, schema)


def sentence_rows(spark: SparkSession, folder: Path, name: str, rows: int, seed: int) -> DataFrame:
    """Rows of article_embeddings for generated short texts, by the built-in encoder."""
    generate(
        spark,
        str(folder),
        GeneratorSpec(articles=400, users=10, impressions=10, short_texts=rows, truth=False, seed=seed),
    )
    texts = spark.read.json(str(folder / "short_texts*.jsonl"), schema="news_id string, title string")
    given = texts.where("title <> ''").repartition(FILES, "news_id")
    made = embed_column(given, "title", None, resolve(EncoderSpec()))
    return made.where("embedded.error IS NULL").selectExpr(
        "regexp_replace(news_id, '^.', 'N') AS news_id",
        f"'{name}' AS encoder_id",
        "'' AS content_hash",
        "embedded.token_count AS token_count",
        "embedded.vector AS embedding",
    )


def stored(lake: Lakehouse, rows: DataFrame, name: str) -> tuple[VectorFiles, int]:
    """Write the rows to the Delta table; the files of this part of it, and their number of rows."""
    count = lake.replace(TABLE, rows, where={"encoder_id": name}).rows
    return (
        VectorFiles(table_files(lake.read(TABLE).where(F.col("encoder_id") == name)), "news_id", "embedding"),
        count,
    )


def number(ids: pa.Array) -> np.ndarray:
    """N000000012 -> 12."""
    return np.array([int(text[1:]) for text in ids.to_pylist()])


def read_all(side: VectorFiles, dimension: int, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of ids and vectors of unit length, for the peers."""
    for part in chunks(side, side.units(), dimension=dimension, rows=rows, zero_is_wrong=True):
        yield number(part.ids), part.vectors / np.linalg.norm(part.vectors, axis=1, keepdims=True)


def ours(sides: Sides, settings: KnnSettings = PLAIN) -> Answer:
    """Without Spark: chunk by chunk from the files."""
    asked = next(
        chunks(
            sides.queries,
            sides.queries.units(),
            dimension=sides.dimension,
            rows=sides.query_count,
            zero_is_wrong=True,
        )
    )
    best = TopK(asked.vectors, k=K, settings=settings)
    parts = chunks(
        sides.items,
        sides.items.units(),
        dimension=sides.dimension,
        rows=settings.chunk_rows,
        zero_is_wrong=True,
    )
    for items in ahead(Items(part.ids, part.vectors, k=K, settings=settings) for part in parts):
        best.add(items)
    _, ids, scores = best.result()
    order = np.argsort(number(asked.ids))
    return number(ids).reshape(-1, K)[order], scores.reshape(-1, K)[order]


def in_spark(spark: SparkSession, sides: Sides) -> None:
    """The search as a job runs it."""
    nearest(spark, sides.queries, sides.items, k=K, tasks=CORES).write.format("noop").mode("overwrite").save()


def by_faiss(sides: Sides) -> tuple[Answer, float]:
    """faiss, and the seconds of its search alone."""
    faiss.omp_set_num_threads(CORES)
    index, ids = faiss.IndexFlatIP(sides.dimension), []
    for numbers, vectors in read_all(sides.items, sides.dimension, 65_536):
        index.add(vectors)
        ids.append(numbers)
    asked, queries = next(read_all(sides.queries, sides.dimension, sides.query_count))
    began = time.perf_counter()
    scores, places = index.search(queries, K)
    alone = time.perf_counter() - began
    order = np.argsort(asked)
    return (np.concatenate(ids)[places][order], scores[order]), alone


def by_panorama(sides: Sides) -> tuple[Answer, float]:
    """faiss's exact index that skips what cannot be near, after a rotation; and the seconds of its search
    alone."""
    faiss.omp_set_num_threads(CORES)
    parts = list(read_all(sides.items, sides.dimension, 65_536))
    rotation = faiss.PCAMatrix(sides.dimension, sides.dimension)
    rotation.train(parts[0][1])
    # The rotation alone: with its mean taken off, inner products would change.
    turn = np.ascontiguousarray(faiss.vector_to_array(rotation.A).reshape(sides.dimension, sides.dimension).T)
    index = faiss.IndexFlatIPPanorama(sides.dimension, PANORAMA_LEVELS)
    for _, vectors in parts:
        index.add(vectors @ turn)
    asked, queries = next(read_all(sides.queries, sides.dimension, sides.query_count))
    began = time.perf_counter()
    scores, places = index.search(queries @ turn, K)
    alone = time.perf_counter() - began
    order = np.argsort(asked)
    return (np.concatenate([numbers for numbers, _ in parts])[places][order], scores[order]), alone


def by_join(spark: SparkSession, sides: Sides) -> None:
    """Spark's own exact join to the nearest (4.2), on the same tables."""
    left, right = (
        spark.read.parquet(*side.files).select("news_id", "embedding")
        for side in (sides.queries, sides.items)
    )
    left, right = left.toDF("query_id", "asked"), right.toDF("item_id", "offered")
    found = left.nearestByJoin(
        right, F.expr("vector_inner_product(asked, offered)"), K, "exact", "similarity"
    )
    found.select("query_id", "item_id").write.format("noop").mode("overwrite").save()


def by_torch(sides: Sides) -> None:
    """torch: a tile of queries times all items, then topk."""
    torch.set_num_threads(CORES)
    items = torch.empty(sides.item_count, sides.dimension)
    start = 0
    for _, vectors in read_all(sides.items, sides.dimension, 65_536):
        items[start : start + len(vectors)] = torch.from_numpy(vectors)
        start += len(vectors)
    _, queries = next(read_all(sides.queries, sides.dimension, sides.query_count))
    for first in range(0, sides.query_count, 256):
        torch.topk(torch.from_numpy(queries[first : first + 256]) @ items.T, K, dim=1)


def seconds(work: Callable[[], object]) -> float:
    """Wall clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(found: Answer, expected: Answer) -> str:
    """Where ids differ, the scores must be equal to within float32's rounding: ties that faiss breaks
    otherwise."""
    differ = found[0] != expected[0]
    gap = float(np.abs(found[1] - expected[1]).max())
    if gap > 1e-5:
        raise SystemExit(f"scores differ from faiss's by up to {gap}")
    return f"{differ.sum():,} of {differ.size:,} ids differ from faiss's, all at scores equal to {gap:.1e}"


def race(measures: Measures, spark: SparkSession, sides: Sides, sgemm: float) -> None:
    """All four on one pair of tables."""
    warm = replace(
        sides,
        queries=replace(sides.queries, files=sides.queries.files[:1]),
        items=replace(sides.items, files=sides.items.files[:1]),
    )
    in_spark(spark, warm)
    ours(warm)
    ours(warm, replace(PLAIN, precision="fp32"))
    with PeakMemory() as of_spark:
        spark_seconds = seconds(lambda: in_spark(spark, sides))
    answers: list[Answer] = []
    before = PeakMemory()
    with before:
        plain_seconds = seconds(lambda: answers.append(ours(sides)))
    plain_fp32 = seconds(lambda: ours(sides, replace(PLAIN, precision="fp32")))
    began = time.perf_counter()
    expected, faiss_alone = by_faiss(sides)
    faiss_seconds = time.perf_counter() - began
    began = time.perf_counter()
    skipping, panorama_alone = by_panorama(sides)
    panorama_seconds = time.perf_counter() - began
    torch_seconds = seconds(lambda: by_torch(sides))
    same = compare(answers[0], expected)
    compare(answers[0], skipping)
    print(
        f"{sides.name}: plain {plain_seconds:.1f} s ({plain_fp32:.1f} s in fp32), Spark {spark_seconds:.1f}"
        f" s, faiss {faiss_seconds:.1f} s ({faiss_alone:.1f} s its search alone), Panorama"
        f" {panorama_seconds:.1f} s ({panorama_alone:.1f} s alone), torch {torch_seconds:.1f} s; {same}; peak"
        f" memory of all processes: Spark {of_spark.peak_mib:,.0f} MiB, plain {before.peak_mib:,.0f} MiB",
        flush=True,
    )
    rate = sides.query_count
    measures.add(
        f"{sides.name}: plain",
        rate / plain_seconds,
        rate / faiss_seconds,
        unit="queries/s",
        better="higher",
        peer_name="faiss",
    )
    measures.add(
        f"{sides.name}: plain, fp32",
        rate / plain_fp32,
        rate / faiss_seconds,
        unit="queries/s",
        better="higher",
        peer_name="faiss",
    )
    name = "faiss's search alone, its index built"
    measures.add(
        f"{sides.name}: plain",
        rate / plain_seconds,
        rate / faiss_alone,
        unit="queries/s",
        better="higher",
        peer_name=name,
    )
    name = "faiss's Panorama"
    measures.add(
        f"{sides.name}: plain",
        rate / plain_seconds,
        rate / panorama_seconds,
        unit="queries/s",
        better="higher",
        peer_name=name,
    )
    measures.add(
        f"{sides.name}: plain",
        rate / plain_seconds,
        rate / torch_seconds,
        unit="queries/s",
        better="higher",
        peer_name="torch",
    )
    measures.add(
        f"{sides.name}: Spark",
        rate / spark_seconds,
        rate / plain_seconds,
        unit="queries/s",
        better="higher",
        peer_name="ours, plain",
    )
    share = "torch.mm on this machine"
    measures.add(
        f"{sides.name}: rate",
        sides.gflop / plain_seconds,
        sgemm,
        unit="GFLOP/s",
        better="higher",
        peer_name=share,
    )


def against_the_join(measures: Measures, spark: SparkSession, sides: Sides) -> None:
    """Ours in Spark, and Spark's own join, each after a first run that compiles its code."""
    taken = {}
    for name, search in (("ours", lambda: in_spark(spark, sides)), ("join", lambda: by_join(spark, sides))):
        search()
        taken[name] = seconds(search)
    print(f"{sides.name}: in Spark {taken['ours']:.1f} s, by its own join {taken['join']:.1f} s", flush=True)
    rates = [sides.query_count / taken[name] for name in ("ours", "join")]
    measures.add(
        f"{sides.name}: Spark",
        *rates,
        unit="queries/s",
        better="higher",
        peer_name="Spark's exact nearest-by join",
    )


def flat_memory(measures: Measures, spark: SparkSession, sides: Sides, times: int) -> None:
    """The same search for `times` as many queries: what it holds must not grow."""
    with PeakMemory() as once:
        in_spark(spark, sides)
    many = replace(sides.queries, files=sides.queries.files * times)
    with PeakMemory() as more:
        in_spark(spark, replace(sides, queries=many))
    name = f"the same with {sides.query_count:,} queries"
    measures.add(
        f"peak memory, {times * sides.query_count:,} queries",
        more.peak_mib,
        once.peak_mib,
        unit="MiB",
        better="lower",
        peer_name=name,
    )


def newsfeed(measures: Measures, spark: SparkSession, sides: Sides, sgemm: float) -> None:
    """Many user vectors on few articles, ten a user, each user's results put together: against the product
    alone.

    Alone the product takes what torch.mm needs for it in fp32; beside it what the search's own product takes,
    in bf16 where that is fast.
    """

    def search() -> None:
        found = nearest(spark, sides.queries, sides.items, k=K, tasks=CORES, by_query_id=True)
        found.write.format("noop").mode("overwrite").save()

    with PeakMemory() as memory:
        taken = seconds(search)
    product = product_seconds(sides)
    torch.set_num_threads(CORES)
    by_torch = sides.gflop / sgemm
    told = f"its product alone {by_torch:.1f} s by torch.mm, {product:.1f} s as the search computes it"
    print(f"{sides.name}: {taken:.1f} s, {told}; peak memory {memory.peak_mib:,.0f} MiB", flush=True)
    for alone, name in (
        (by_torch, "its product by torch.mm"),
        (product, "its product as the search computes it"),
    ):
        measures.add(
            sides.name,
            sides.query_count / taken,
            sides.query_count / alone,
            unit="vectors/s",
            better="higher",
            peer_name=name,
        )


def product_seconds(sides: Sides) -> float:
    """The product alone, as the search computes it, on all cores: of a part of the queries, scaled up."""
    part = next(
        chunks(
            sides.items,
            sides.items.units(),
            dimension=sides.dimension,
            rows=sides.item_count,
            zero_is_wrong=True,
        )
    )
    items = Items(part.ids, part.vectors, k=K, settings=PLAIN)
    tile, _ = PLAIN.sizes("cpu")
    asked = next(
        chunks(
            sides.queries,
            sides.queries.units()[:1],
            dimension=sides.dimension,
            rows=tile * 8,
            zero_is_wrong=True,
        )
    )
    near, _ = rounded(asked.vectors, resolved(PLAIN.precision, "cpu"))
    torch.set_num_threads(1)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for start in range(0, len(near), tile):
            for _, _, block in items.blocks:
                block.scores(near[start : start + tile])
        best = min(best, time.perf_counter() - began)
    return best * sides.query_count / len(near) / CORES


def main() -> None:
    """Run it all."""
    arguments = bench_arguments("Exact top 20 against faiss and torch.")
    small = arguments.small
    queries, sizes = (1_000, (20_000,)) if small else (10_000, (200_000, 1_000_000))
    users, articles, sentences = (2_000, 5_000, 3_000) if small else (100_000, 5_000, 100_000)
    measures = Measures("Exact top 20", arguments.json)
    spark = bench_session("knn")
    sgemm = sgemm_gflops(CORES)
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lakehouse(spark, f"{scratch}/lakehouse")
        for dimension in (384, 768):
            asked, _ = stored(
                lake,
                random_rows(spark, f"queries-{dimension}", queries, dimension, 1),
                f"queries-{dimension}",
            )
            for items in sizes:
                name = f"items-{items}-{dimension}"
                offered, _ = stored(lake, random_rows(spark, name, items, dimension, 2), name)
                sides = Sides(
                    f"{queries:,} on {items:,} x {dimension}", asked, offered, queries, items, dimension
                )
                if dimension == 384 and items == sizes[0]:
                    flat_memory(measures, spark, sides, times=8)
                race(measures, spark, sides, sgemm)
        few, some = (100, 2_000) if small else (200, 10_000)
        asked, _ = stored(lake, random_rows(spark, "queries-join", few, 384, 1), "queries-join")
        offered, _ = stored(lake, random_rows(spark, "items-join", some, 384, 2), "items-join")
        against_the_join(measures, spark, Sides(f"{few:,} on {some:,} x 384", asked, offered, few, some, 384))
        offered, item_count = stored(
            lake, sentence_rows(spark, Path(scratch) / "a", "articles", sentences, 0), "articles"
        )
        asked, query_count = stored(
            lake, sentence_rows(spark, Path(scratch) / "b", "short", queries, 1), "short"
        )
        race(
            measures,
            spark,
            Sides(
                f"sentences, {query_count:,} on {item_count:,}", asked, offered, query_count, item_count, 384
            ),
            sgemm,
        )
        vectors, _ = stored(lake, random_rows(spark, "users", 10 * users, 968, 3), "users")
        offered, _ = stored(lake, random_rows(spark, "recent", articles, 968, 4), "recent")
        newsfeed(
            measures,
            spark,
            Sides(f"newsfeed, {users:,} users x 10", vectors, offered, 10 * users, articles, 968),
            sgemm,
        )
    spark.stop()
    measures.finish()


if __name__ == "__main__":
    main()
