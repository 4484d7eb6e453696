"""What a GPU is worth: encoding, exact search and training on it, beside a peer on the same GPU and ours on
the CPU, in one run.

Encoding: generated articles (title and abstract; one in five with its body) by all-MiniLM-L6-v2, cut at its
512 tokens, in each precision, against sentence-transformers on the same GPU in the same precision and at its
fastest batch size; then the job's own step inside Spark. The least cosine is to our vectors in fp32.

Search: the best 20 of random unit vectors (the hardest case for a bound: all scores lie close together),
against torch on the same GPU: a product in fp32 and topk, which keeps all items on the GPU. Where ids differ,
scores must agree to float32's rounding.

Training: one epoch of nrms, on frozen vectors and with the encoder's last two layers tuned, in bf16
(autocast) against fp32, and on the GPU against the CPU. Valid's AUC is printed beside it: a precision that
costs quality is none.

`--device cpu --small` only shows that the benchmark runs where there is no GPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from common import CORES, Measures, bench_parser, bench_session
from newslake.sample import GeneratorSpec
from newslake.sample.generate import plan
from newslake.search.knn import top_k
from newslake.search.knn_settings import KnnSettings
from newslake.text.encoder import Encoder
from newslake.text.spec import DEFAULT_MODEL, EncoderSpec, Precision, resolve
from newslake.training.data.loading import TrainingData
from newslake.training.data.texts import Texts, tokenizer_of, tuned_encoder
from newslake.training.loop.trainer import train
from newslake.training.models.settings import settings_for
from readers import Article, articles_of, lines_of, shown_of, training_data

K = 20
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BATCH_SIZES = {"cuda": (64, 256, 1024), "cpu": (16,)}
ONE_BODY_IN = 5
Pairs = list[tuple[str, str]]


def arguments() -> argparse.Namespace:
    """As every benchmark, --device and --parts."""
    parser = bench_parser("Encoding, search and training on a GPU.")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="(default: %(default)s)")
    parts = ("encode", "spark", "search", "train")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=parts,
        choices=parts,
        metavar="PART",
        help=f"(default: {' '.join(parts)})",
    )
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here")
    return given


def world(articles: int, impressions: int) -> tuple[list[Article], dict[str, list[str]]]:
    """A world's articles, and the lines of its other files by name."""
    spec = GeneratorSpec(
        articles=articles,
        users=max(10, impressions // 7),
        impressions=impressions,
        short_texts=0,
        truth=False,
    )
    wanted = ("train/news", "dev/news", "train/behaviors", "dev/behaviors")
    lines = {file.name: list(lines_of(file)) for file in plan(spec) if file.name in wanted}
    return articles_of([*lines["train/news"], *lines["dev/news"]]), lines


def texts_of(articles: Sequence[Article]) -> tuple[list[str], list[str]]:
    """First and second segments: a title, and the abstract; one in ONE_BODY_IN goes on for the length of a
    body."""
    rest = [f"{a.abstract} " * (12 if number % ONE_BODY_IN == 0 else 1) for number, a in enumerate(articles)]
    return [a.title for a in articles], [text.strip() for text in rest]


def into(kept: list[Any], work: Callable[..., Any], *given: Any) -> None:
    """Do the work, and keep what it gives."""
    kept.append(work(*given))


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall clock, until the GPU has done all that was asked of it."""
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def encode(measures: Measures, articles: Sequence[Article], device: str) -> float:
    """Ours and sentence-transformers in each precision; returns our texts a second in bf16."""
    first, second = texts_of(articles)
    exact: np.ndarray | None = None
    rate = 0.0
    for precision in PRECISIONS if device == "cuda" else PRECISIONS[:1]:
        found = resolve(EncoderSpec(long_text="truncate", precision=precision))
        size, peer = by_sentence_transformers(
            found.folder, precision, list(zip(first, second, strict=True)), device
        )
        ours = Encoder(found, device=device, threads=CORES)
        ours.encode(first[:200], second[:200])
        kept: list[np.ndarray] = []
        mine = seconds(partial(into, kept, ours.encode, first, second), device)
        tokens, vectors = int(kept[0].token_counts.sum()), kept[0].vectors  # type: ignore[attr-defined]
        exact = vectors if exact is None else exact
        cosine = (
            np.einsum("ij,ij->i", vectors, exact)
            / np.linalg.norm(vectors, axis=1)
            / np.linalg.norm(exact, axis=1)
        )
        rate = len(first) / mine
        print(
            f"{precision}: {len(first):,} texts of {tokens:,} tokens: {mine:.2f} s, {tokens / mine:,.0f}"
            f" tokens/s; sentence-transformers {peer:.2f} s by batches of {size}; least cosine to fp32"
            f" {cosine.min():.6f}",
            flush=True,
        )
        peer_name = "sentence-transformers"
        measures.add(
            f"encode, {precision}",
            rate,
            len(first) / peer,
            unit="texts/s",
            better="higher",
            peer_name=peer_name,
        )
    return rate


def by_sentence_transformers(
    folder: str, precision: Precision, pairs: Pairs, device: str
) -> tuple[int, float]:
    """The batch size that is the fastest on a tenth of the texts, and its seconds for all."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device=device, model_kwargs={"dtype": DTYPES[precision]})
    model.max_seq_length = 512

    def ask(size: int, some: Pairs) -> None:
        model.encode(some, batch_size=size, show_progress_bar=False)

    sample = pairs[: max(60, len(pairs) // 10)]
    ask(BATCH_SIZES[device][0], sample[:64])
    taken = {size: seconds(partial(ask, size, sample), device) for size in BATCH_SIZES[device]}
    best = min(taken, key=taken.__getitem__)
    return best, seconds(partial(ask, best, pairs), device)


def in_spark(measures: Measures, articles: Sequence[Article], device: str, plain: float) -> None:
    """The step of encode_articles inside Spark, two tasks on the GPU, their workers warm."""
    from pyspark.sql import types as T

    from newslake.text.embed import EmbedSettings, embed_column

    first, second = texts_of(articles)
    found = resolve(EncoderSpec(long_text="truncate", precision="bf16"))
    spark = bench_session("gpu", 2)
    schema = T.StructType([T.StructField(name, T.StringType()) for name in ("first", "second")])
    given = (
        spark.createDataFrame(pa.table({"first": first, "second": second}).to_pandas(), schema)
        .repartition(8)
        .persist()
    )
    given.count()
    made = embed_column(
        given, "first", "second", found, settings=EmbedSettings(device="cuda" if device == "cuda" else "cpu")
    )
    wanted = made.where("embedded.error IS NOT NULL").count()  # loads the model in both workers too
    if wanted:
        raise SystemExit(f"{wanted} texts have no vector")
    taken = seconds(lambda: made.write.format("noop").mode("overwrite").save(), device)
    spark.stop()
    measures.add(
        "encode in Spark, bf16",
        len(first) / taken,
        plain,
        unit="texts/s",
        better="higher",
        peer_name="ours without Spark",
    )


def search(measures: Measures, queries: int, items: int, dimension: int, device: str) -> None:
    """Ours on the GPU against torch's fp32 product and topk on it, and against ours on the CPU."""
    random = np.random.default_rng(1)
    asked, offered = (random.standard_normal((rows, dimension), np.float32) for rows in (queries, items))
    for side in (asked, offered):
        side /= np.linalg.norm(side, axis=1, keepdims=True)
    ids = pa.array([f"N{i:09}" for i in range(items)])
    on_cpu = KnnSettings(device="cpu", threads=CORES)
    settings = KnnSettings(device="cuda", chunk_rows=1 << 20) if device == "cuda" else on_cpu
    top_k(asked[:512], ids[:65_536], offered[:65_536], K, settings)
    answers: list[Any] = []
    mine = seconds(partial(into, answers, top_k, asked, ids, offered, K, settings), device)
    best_of_all(asked[:512], offered, device)
    peer = seconds(partial(into, answers, best_of_all, asked, offered, device), device)
    (_, names, found), (scores, places) = answers
    numbers = np.array([int(name[1:]) for name in names.to_pylist()]).reshape(-1, K)
    gap = float(np.abs(found.reshape(-1, K) - scores).max())
    if gap > 1e-5:
        raise SystemExit(f"scores differ from torch's by up to {gap}")
    name = f"search, {queries:,} on {items:,} x {dimension}"
    differ = f"{(numbers != places).sum():,} of {numbers.size:,} ids differ, all at scores equal to {gap:.1e}"
    print(f"{name}: {mine:.2f} s, torch {peer:.2f} s; {differ}", flush=True)
    measures.add(
        name,
        queries / mine,
        queries / peer,
        unit="queries/s",
        better="higher",
        peer_name="torch: fp32 product and topk",
    )
    if device == "cuda":
        few = max(1, queries // 10)
        alone = seconds(partial(top_k, asked[:few], ids, offered, K, on_cpu), device)
        measures.add(
            name,
            queries / mine,
            few / alone,
            unit="queries/s",
            better="higher",
            peer_name=f"ours on {CORES} cores",
        )


def best_of_all(asked: np.ndarray, offered: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray]:
    """torch's way: a tile of queries times all items in fp32, and topk. Scores and places, (queries, K)
    each."""
    torch.backends.cuda.matmul.allow_tf32 = False
    held = torch.from_numpy(offered).to(device)
    tiles = range(0, len(asked), 512)
    parts = [
        torch.topk(torch.from_numpy(asked[start : start + 512]).to(device) @ held.T, K, dim=1)
        for start in tiles
    ]
    return np.concatenate([part.values.cpu().numpy() for part in parts]), np.concatenate(
        [part.indices.cpu().numpy() for part in parts]
    )


def tokens_of(articles: Sequence[Article], order: Sequence[str], encoder_id: str) -> Texts:
    """The tokens of the articles' texts as staging makes them, in the order of the training data."""
    encoder = tuned_encoder(DEFAULT_MODEL, encoder_id, layers=2, max_tokens=100)
    by_id = {article.news_id: article for article in articles}
    first, second = texts_of([by_id[news_id] for news_id in order])
    made = [text for text in tokenizer_of(encoder).many(first, second) if not isinstance(text, Exception)]
    ends = np.cumsum([0, *(len(one.ids) for one in made)], dtype=np.int64)
    ids = np.concatenate([np.asarray(one.ids, np.int32) for one in made])
    return Texts(ids, np.concatenate([np.asarray(one.segments, np.int8) for one in made]), ends, encoder)


def training(
    measures: Measures, articles: Sequence[Article], lines: dict[str, list[str]], folder: Path, device: str
) -> None:
    """An epoch of nrms, on frozen vectors and tuned: bf16 against fp32, and the GPU against the CPU."""
    found = resolve(EncoderSpec(fields=("title", "abstract"), long_text="truncate"))
    vectors = Encoder(found, device=device, threads=CORES).encode(*texts_of(articles)).vectors
    shown, later = (shown_of(lines[f"{split}/behaviors"], articles) for split in ("train", "dev"))
    half = len(later) // 2
    data, _ = training_data(articles, vectors, (shown, later[:half], later[half:]), folder / "clicks")
    # A step of tuning reads some thousand texts: a part of the clicks says how fast it is.
    few, _ = training_data(
        articles, vectors, (shown[: len(shown) // 15], later[:half], later[half:]), folder / "few"
    )
    tokens = tokens_of(articles, few.catalogue.article_ids.to_pylist(), found.encoder_id)
    tuned = replace(few, catalogue=replace(few.catalogue, texts=tokens))
    for name, of, changes in (
        ("nrms, batches of 128", data, {"batch_size": 128}),
        ("nrms, batches of 1,024", data, {"batch_size": 1024}),
        ("nrms, two layers tuned", tuned, {"batch_size": 128, "tune_layers": 2}),
    ):
        clicks = int(of.train.labels.sum())
        if of is data:
            epoch(of, device, "fp32", changes)  # the first steps load kernels
        whole, mixed = (epoch(of, device, precision, changes) for precision in ("fp32", "bf16"))
        measures.add(
            f"{name}: bf16",
            clicks / mixed,
            clicks / whole,
            unit="clicks/s",
            better="higher",
            peer_name="fp32",
        )
        if device == "cuda" and of is data:
            alone = epoch(of, "cpu", "fp32", changes)
            measures.add(
                f"{name}: GPU",
                clicks / whole,
                clicks / alone,
                unit="clicks/s",
                better="higher",
                peer_name=f"{CORES} cores",
            )


def epoch(data: TrainingData, device: str, precision: str, changes: Mapping[str, int]) -> float:
    """Seconds of one epoch, judging included."""
    settings = settings_for("nrms", seed=1, skips=4, epochs=1, patience=1, precision=precision, **changes)
    trained = train(
        data, settings, device=device, threads=1 if device == "cuda" else CORES, progress=lambda text: None
    )
    valid, told = (
        trained.metrics[-1].ranking.auc,
        ", ".join(f"{name} {value}" for name, value in changes.items()),
    )
    print(
        f"nrms on {device}, {precision}, {told}: {trained.seconds:.1f} s, valid AUC {valid:.4f}", flush=True
    )
    return trained.seconds


def main() -> None:
    """Run the parts asked for."""
    given = arguments()
    name = torch.cuda.get_device_name() if given.device == "cuda" else "no GPU"
    measures = Measures(f"On a GPU ({name})", given.json)
    many, shown = (400, 1_000) if given.small else (40_000, 60_000)
    articles, lines = world(many, shown)
    rate = 1.0
    if "encode" in given.parts:
        rate = encode(measures, articles, given.device)
    if "spark" in given.parts:
        in_spark(measures, articles, given.device, rate)
    if "search" in given.parts:
        for dimension in (384, 768):
            search(
                measures,
                1_000 if given.small else 10_000,
                20_000 if given.small else 1_000_000,
                dimension,
                given.device,
            )
    if "train" in given.parts:
        with tempfile.TemporaryDirectory() as folder:
            training(measures, articles, lines, Path(folder), given.device)
    measures.finish()


if __name__ == "__main__":
    main()
