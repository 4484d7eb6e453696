"""Encoding articles: ours against the tutorial's loop and sentence-transformers, plain and inside Spark, in
one run.

All encode the same generated articles (title, abstract, and for one in five its body) with the same model,
all-MiniLM-L6-v2, to 512 tokens, mean pooling. The peers are in their best shape: each with the number of
threads, and sentence-transformers with the batch size, that is the fastest on a part of the texts.

FLOPs are those of the texts' own tokens, padding not counted: for a text of L tokens 2 L (4 h^2 + 2 h i) + 4
L^2 h in each layer (query, key, value and output h x h; the feed-forward's two products h x i; scores and
weighted sums of attention), h wide and i inside the feed-forward. Embeddings, norms, softmax and GELU count
as nothing.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from common import CORES, Measures, bench_arguments, bench_session, sgemm_gflops
from newslake.intake.articles import content_hash
from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec, generate
from newslake.text.articles import encode_articles
from newslake.text.embed import embed_column
from newslake.text.encoder import Encoder
from newslake.text.rows import one_of_each_text, segments
from newslake.text.spec import EncoderSpec, ResolvedEncoder, resolve
from newslake.text.weights import model_config

Pairs = list[tuple[str, str]]
Encode = Callable[[Pairs], np.ndarray]

THREADS = sorted({1, CORES})
BATCH_SIZES = (4, 8, 16, 32, 64)
ONE_BODY_IN = 5


def news(spark: SparkSession, folder: Path, articles: int) -> DataFrame:
    """Table-like rows of generated articles; one in ONE_BODY_IN keeps its body."""
    generate(
        spark,
        str(folder),
        GeneratorSpec(articles=articles, users=10, impressions=10, candidates=2.0, clicks=1.0, truth=False),
    )
    columns = (
        "news_id string, category string, subcategory string, title string, abstract string, url string,"
        " entities string"
    )
    files = [str(folder / split / "news*.tsv") for split in ("train", "dev")]
    rows = (
        spark.read.csv(files, sep="\t", quote="", schema=columns)
        .dropDuplicates(["news_id"])
        .select("news_id", "title", "abstract")
    )
    bodies = spark.read.json(str(folder / "articles*.jsonl"), schema="news_id string, body string")
    keeps = F.pmod(F.xxhash64("news_id"), F.lit(ONE_BODY_IN)) == 0
    return rows.join(bodies, on="news_id", how="left").withColumn("body", F.when(keeps, F.col("body")))


def pairs_of(rows: DataFrame) -> Pairs:
    """The articles' segments, for what runs without Spark."""
    first, second = segments(("title", "abstract", "body"))
    found = [(row[0], row[1]) for row in rows.select(first, second, "news_id").orderBy("news_id").collect()]
    random.Random(0).shuffle(found)
    return found


def tutorial_loop(folder: str) -> Encode:
    """One article at a time, as the tutorial encodes."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()

    def encode(texts: Pairs) -> np.ndarray:
        vectors = []
        for first, second in texts:
            inputs = tokenizer(first, second, truncation=True, max_length=512, return_tensors="pt")
            with torch.no_grad():
                vectors.append(model(**inputs).last_hidden_state[0].mean(0).numpy())
        return np.stack(vectors)

    return encode


def sentence_transformers(folder: str, batch_size: int) -> Encode:
    """Its own encode, which sorts by length and pads."""
    model = SentenceTransformer(folder, device="cpu")
    model.max_seq_length = 512
    return lambda texts: np.asarray(model.encode(texts, batch_size=batch_size, show_progress_bar=False))


def plain(resolved: ResolvedEncoder) -> Encode:
    """Ours without Spark."""
    encoder = Encoder(resolved, threads=CORES)
    return lambda texts: (
        encoder.encode([first for first, _ in texts], [second for _, second in texts]).vectors
    )


def seconds(work: Callable[[], object]) -> float:
    """Wall clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best(candidates: dict[str, tuple[int, Encode]], sample: Pairs) -> tuple[str, int, Encode]:
    """The candidate (threads, encode) that is the fastest on a sample, each warmed up."""
    taken = {}
    for name, (threads, encode) in candidates.items():
        torch.set_num_threads(threads)
        encode(sample[:20])
        taken[name] = seconds(lambda encode=encode: encode(sample))  # type: ignore[misc]
        print(f"  {name}: {len(sample) / taken[name]:.1f} texts/s on {len(sample)} texts", flush=True)
    name = min(taken, key=taken.__getitem__)
    return name, *candidates[name]


def flops(folder: str, lengths: np.ndarray) -> float:
    """Of the model on texts of these lengths, as this file's first lines say."""
    config = model_config(Path(folder))
    h, i, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    tokens = lengths.astype(np.float64)
    return float(layers * (2 * tokens * (4 * h * h + 2 * h * i) + 4 * tokens**2 * h).sum())


def without_spark(measures: Measures, resolved: ResolvedEncoder, texts: Pairs) -> float:
    """Ours against both peers, and against the machine; returns our seconds."""
    sample = texts[: max(60, len(texts) // 10)]
    loop = best({f"loop, {t} threads": (t, tutorial_loop(resolved.folder)) for t in THREADS}, sample)
    peers = {
        f"sentence-transformers, batch {size}, {t} threads": (t, sentence_transformers(resolved.folder, size))
        for size in BATCH_SIZES
        for t in THREADS
    }
    encode = plain(resolved)
    vectors: dict[str, np.ndarray] = {}
    taken: dict[str, float] = {}
    for name, threads, peer in (loop, best(peers, sample)):
        torch.set_num_threads(threads)
        taken[name] = seconds(lambda name=name, peer=peer: vectors.update({name: peer(texts)}))  # type: ignore[misc]
    encode(texts[:20])
    ours = seconds(lambda: vectors.update(ours=encode(texts)))
    encoder = Encoder(resolved)
    lengths = np.array(
        [
            len(t.ids)
            for t in encoder.tokenizer.many(*zip(*texts, strict=True))
            if not isinstance(t, Exception)
        ]
    )
    quartiles = np.percentile(lengths, [0, 25, 50, 75, 100]).astype(int).tolist()
    print(f"{len(texts):,} texts, {lengths.sum():,} tokens; lengths at the quartiles: {quartiles}")
    for name, peer_seconds in taken.items():
        # sentence-transformers makes a pair of a text whose second segment is empty, transformers does not.
        same = [i for i, (_, second) in enumerate(texts) if second]
        found, expected = (torch.from_numpy(vectors[key][same]) for key in ("ours", name))
        cosine = torch.nn.functional.cosine_similarity(found, expected).min()
        print(f"  least cosine to {name}: {cosine:.7f}")
        short = name.split(",")[0]
        measures.add(
            f"texts/s against {short}",
            len(texts) / ours,
            len(texts) / peer_seconds,
            unit="texts/s",
            better="higher",
            peer_name=name,
        )
        measures.add(
            f"tokens/s against {short}",
            lengths.sum() / ours,
            lengths.sum() / peer_seconds,
            unit="tokens/s",
            better="higher",
            peer_name=name,
        )
    rate, own = flops(resolved.folder, lengths) / ours / 1e9, sgemm_gflops(CORES)
    measures.add(
        "share of sgemm", rate, own, unit="GFLOP/s", better="higher", peer_name="torch.mm on this machine"
    )
    return ours


def in_spark(
    measures: Measures,
    spark: SparkSession,
    resolved: ResolvedEncoder,
    rows: DataFrame,
    plain_seconds: float,
    texts: int,
) -> None:
    """The same texts through the Spark step, its workers warm."""
    first, second = segments(("title", "abstract", "body"))
    hashed = rows.withColumn("content_hash", content_hash())
    given = (
        one_of_each_text(hashed, 2 * CORES)
        .select("content_hash", first.alias("first"), second.alias("second"))
        .persist()
    )
    given.count()
    made = embed_column(given, "first", "second", resolved)
    embed_column(
        given.where("pmod(xxhash64(content_hash), 50) = 0"), "first", "second", resolved
    ).write.format("noop").mode("overwrite").save()
    taken = seconds(lambda: made.write.format("noop").mode("overwrite").save())
    given.unpersist()
    measures.add(
        "texts/s inside Spark",
        texts / taken,
        texts / plain_seconds,
        unit="texts/s",
        better="higher",
        peer_name="ours, plain",
    )


def sparks_share(
    measures: Measures, spark: SparkSession, resolved: ResolvedEncoder, folder: Path, articles: int
) -> None:
    """The job encode_articles from table to table, model loading and all, against the same texts without
    Spark."""
    rows = news(spark, folder / "more", articles)
    texts = pairs_of(rows)
    lake = Lakehouse(spark, str(folder / "lakehouse"))
    known = rows.withColumn("content_hash", content_hash())
    contract = lake.schema("news")
    lake.merge(
        "news",
        known.select(
            *(
                F.col(f.name) if f.name in known.columns else F.lit(None).cast(f.dataType).alias(f.name)
                for f in contract
            )
        ),
    )
    alone = seconds(lambda: plain(resolved)(texts))
    whole = seconds(
        lambda: encode_articles(lake, JobRun("encode_articles"), encoding=EncoderSpec(long_text="truncate"))
    )
    print(f"{articles:,} articles: {alone:.1f} s without Spark, {whole:.1f} s as a job")
    share = max(whole - alone, 0.001) / whole
    measures.add(
        "Spark's own share of the job's time", share, 0.10, unit="share", better="lower", peer_name="the bar"
    )


def main() -> None:
    """Run it all."""
    arguments = bench_arguments("Encoding articles against the tutorial's loop and sentence-transformers.")
    few, many = (300, 1_500) if arguments.small else (2_000, 20_000)
    measures = Measures("Encoding articles", arguments.json)
    resolved = resolve(EncoderSpec(long_text="truncate"))
    spark = bench_session("encode")
    with tempfile.TemporaryDirectory() as scratch:
        rows = news(spark, Path(scratch) / "few", few)
        texts = pairs_of(rows)
        ours = without_spark(measures, resolved, texts)
        in_spark(measures, spark, resolved, rows, ours, len(texts))
        sparks_share(measures, spark, resolved, Path(scratch), many)
    spark.stop()
    measures.finish()


if __name__ == "__main__":
    main()
