"""Training of the content model: whole epochs with evaluation, ours against the way of the tutorial, on the
same 100,000 clicks.

The tutorial's way (Vespa's news tutorial, part 4), re-written small from its description: impressions are
Python lists; an epoch appends its examples to lists one by one, goes through a DataLoader over them, and is
judged by a loop over impressions that calls the model and scikit-learn's roc_auc_score for each. Same data,
same layers, same optimizer and batch size in both; the peer uses whichever of one thread and all threads
makes its steps faster.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common import Measures, bench_session
from newslake.sample import GeneratorSpec, generate
from newslake.training.data.feed import ClickFeed
from newslake.training.data.loading import Catalogue, Impressions, TrainingData
from newslake.training.data.staging import Staged, stage, stage_vectors
from newslake.training.data.time_splits import BySplit
from newslake.training.loop.evaluate import evaluate
from newslake.training.loop.trainer import train
from newslake.training.models.settings import TrainSettings

VECTOR_SIZE = 384
DIM = 50
BATCH_SIZE = 128
SKIPS = 4


def staged_folders(folder: Path, count: int) -> tuple[Staged, Staged]:
    """So many generated impressions, staged as the job stages them. The articles' vectors are noise: speed
    does not depend on them."""
    spec = GeneratorSpec(
        articles=count // 4, users=count // 7, impressions=count, body_share=0.0, short_texts=0, truth=False
    )
    spark = bench_session("train")
    generate(spark, str(folder / "mind"), spec)
    impressions, history = (read(spark, folder / "mind") for read in (_impressions, _history))
    columns = (
        "news_id string, category string, subcategory string, title string, abstract string, url string,"
        " entities string"
    )
    files = [str(folder / "mind" / split / "news*.tsv") for split in ("train", "dev")]
    news = spark.read.csv(files, sep="\t", quote="", schema=columns).dropDuplicates(["news_id"])
    entity = F.struct(
        F.lit("title").alias("field"), F.get_json_object("entities", "$[0].WikidataId").alias("wikidata_id")
    )
    news = news.withColumn("entities", F.array(entity))
    staged = stage(folder / "staging", impressions, history, news, roles=BySplit(), max_skips=300)
    numbers = F.transform(
        F.sequence(F.lit(1), F.lit(VECTOR_SIZE)),
        lambda i: (F.xxhash64("news_id", i) / F.lit(2.0**63)).cast("float"),
    )
    embeddings = news.select("news_id", F.lit("noise").alias("encoder_id"), numbers.alias("embedding"))
    vectors = stage_vectors(staged, spark, embeddings, encoder_id="noise")
    spark.stop()  # training is measured without it
    return staged, vectors


def _behaviors(spark: SparkSession, folder: Path) -> DataFrame:
    columns = "impression_id string, user_id string, time string, history string, shown string"
    parts = []
    for split in ("train", "dev"):
        lines = spark.read.csv(str(folder / split / "behaviors*.tsv"), sep="\t", quote="", schema=columns)
        parts.append(lines.withColumn("split", F.lit(split)))
    return parts[0].unionByName(parts[1])


def _impressions(spark: SparkSession, folder: Path) -> DataFrame:
    shown = _behaviors(spark, folder).select(
        "split", "impression_id", "user_id", F.posexplode(F.split("shown", " ")).alias("position", "c")
    )
    news_id, label = F.substring_index("c", "-", 1), F.substring_index("c", "-", -1)
    return shown.withColumn("news_id", news_id).withColumn("clicked", label == "1").drop("c")


def _history(spark: SparkSession, folder: Path) -> DataFrame:
    clicked = F.split(F.coalesce("history", F.lit("")), " ")
    known = F.filter(clicked, lambda news_id: news_id != "")
    occurred = F.to_timestamp("time", "M/d/yyyy h:mm:ss a").alias("occurred_at")
    return _behaviors(spark, folder).select(
        "split", "impression_id", "user_id", occurred, known.alias("news_ids")
    )


@dataclass
class PlainImpression:
    """An impression as the tutorial keeps it."""

    user: int
    articles: list[int]
    labels: list[int]


class PlainContentModel(nn.Module):
    """The tutorial's layers over the tutorial's tables."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        assert catalogue.vectors is not None
        self.user = nn.Embedding(len(catalogue.user_ids), DIM)
        self.article = nn.Embedding(len(catalogue.article_ids), DIM)
        self.category = nn.Embedding(catalogue.category.count, DIM)
        self.subcategory = nn.Embedding(catalogue.subcategory.count, DIM)
        self.entity = nn.Embedding(catalogue.entity.count, DIM)
        self.text = nn.Embedding.from_pretrained(torch.from_numpy(catalogue.vectors), freeze=True)
        self.from_text = nn.Linear(VECTOR_SIZE, DIM)
        self.joined = nn.Linear(5 * DIM, DIM)

    def forward(
        self, users: Tensor, articles: Tensor, categories: Tensor, subcategories: Tensor, entities: Tensor
    ) -> Tensor:
        text = torch.sigmoid(self.from_text(self.text(articles)))
        parts = (
            self.article(articles),
            text,
            self.category(categories),
            self.subcategory(subcategories),
            self.entity(entities),
        )
        return torch.sigmoid((self.user(users) * torch.sigmoid(self.joined(torch.cat(parts, 1)))).sum(1))


class Peer:
    """The tutorial's way."""

    def __init__(self, data: TrainingData) -> None:
        self.train, self.valid = _plain(data.train), _plain(data.valid)
        codes = (data.catalogue.category, data.catalogue.subcategory, data.catalogue.entity)
        self.attributes = [code.values.tolist() for code in codes]
        torch.manual_seed(0)
        self.random = random.Random(0)
        self.model = PlainContentModel(data.catalogue)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, weight_decay=1e-5)

    def examples(self) -> DataLoader[tuple[Tensor, ...]]:
        columns: list[list[int]] = [[], [], [], [], [], []]
        for impression in self.train:
            clicked = [a for a, label in zip(impression.articles, impression.labels, strict=True) if label]
            skipped = [
                a for a, label in zip(impression.articles, impression.labels, strict=True) if not label
            ]
            for click in clicked:
                self._append(columns, impression.user, click, 1)
                for skip in self.random.sample(skipped, min(SKIPS, len(skipped))):
                    self._append(columns, impression.user, skip, 0)
        tensors = [*(torch.LongTensor(column) for column in columns[:5]), torch.FloatTensor(columns[5])]
        return DataLoader(TensorDataset(*tensors), batch_size=BATCH_SIZE, shuffle=True)

    def _append(self, columns: list[list[int]], user: int, article: int, label: int) -> None:
        row = (user, article, *(values[article] for values in self.attributes), label)
        for column, value in zip(columns, row, strict=True):
            column.append(value)

    def step(self, batch: tuple[Tensor, ...]) -> None:
        self.optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy(self.model(*batch[:5]), batch[5])
        loss.backward()
        self.optimizer.step()

    def evaluate(self, impressions: list[PlainImpression]) -> float:
        found = []
        with torch.no_grad():
            for impression in impressions:
                if not 0 < sum(impression.labels) < len(impression.labels):
                    continue
                articles = impression.articles
                attributes = [
                    torch.LongTensor([values[article] for article in articles]) for values in self.attributes
                ]
                scores = self.model(
                    torch.LongTensor([impression.user] * len(articles)),
                    torch.LongTensor(articles),
                    *attributes,
                ).numpy()
                labels = np.array(impression.labels)
                ranked = labels[np.argsort(scores)[::-1]]
                found.append(
                    (roc_auc_score(labels, scores), _mrr(ranked), _ndcg(ranked, 5), _ndcg(ranked, 10))
                )
        return float(np.mean([metrics[0] for metrics in found]))

    def choose_threads(self) -> None:
        """The faster of one thread and all, by some steps."""
        batches = [batch for batch, _ in zip(self.examples(), range(60), strict=False)]
        seconds = {}
        for threads in (1, os.cpu_count() or 1):
            torch.set_num_threads(threads)
            start = time.perf_counter()
            for batch in batches:
                self.step(batch)
            seconds[threads] = time.perf_counter() - start
        torch.set_num_threads(min(seconds, key=seconds.__getitem__))


def _plain(impressions: Impressions) -> list[PlainImpression]:
    parts = zip(impressions.users, impressions.offsets[:-1], impressions.offsets[1:], strict=True)
    return [
        PlainImpression(
            int(user), impressions.articles[start:end].tolist(), impressions.labels[start:end].tolist()
        )
        for user, start, end in parts
    ]


def _mrr(ranked: np.ndarray) -> float:
    return float((ranked / np.arange(1, len(ranked) + 1)).sum() / ranked.sum())


def _ndcg(ranked: np.ndarray, k: int) -> float:
    discounts = np.log2(np.arange(2, len(ranked) + 2))[:k]
    best = np.sort(ranked)[::-1][:k]
    return float((ranked[:k] / discounts).sum() / (best / discounts).sum())


def timed(work: Iterator[object]) -> float:
    """Seconds that it takes to go through an iterator."""
    start = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - start


def measure_peer(data: TrainingData) -> dict[str, float]:
    """Seconds of one epoch's parts, the tutorial's way."""
    peer = Peer(data)
    peer.choose_threads()
    found = {"feeding": timed(iter(peer.examples()))}
    start = time.perf_counter()
    for batch in peer.examples():
        peer.step(batch)
    middle = time.perf_counter()
    train_auc, valid_auc = peer.evaluate(peer.train), peer.evaluate(peer.valid)
    print(
        f"peer: {torch.get_num_threads()} threads, after one epoch AUC train {train_auc:.4f}, valid"
        f" {valid_auc:.4f}",
        flush=True,
    )
    end = time.perf_counter()
    return {**found, "epoch": end - start, "evaluation": end - middle}


def measure_ours(data: TrainingData, epochs: int) -> dict[str, float]:
    """Seconds of one epoch's parts, ours."""
    settings = TrainSettings(
        model="content",
        epochs=epochs,
        patience=epochs,
        seed=0,
        dim=DIM,
        batch_size=BATCH_SIZE,
        learning_rate=1e-3,
        weight_decay=1e-5,
        skips=SKIPS,
    )
    feed = ClickFeed(data.click_files, seed=0, skips=SKIPS, batch_size=BATCH_SIZE)
    cpu = torch.device("cpu")
    found = {"feeding": timed(batch for block in feed.blocks(1) for batch in block.batches(BATCH_SIZE, cpu))}
    trained = train(data, settings, progress=lambda text: print(f"ours: {text}", flush=True))
    torch.set_num_threads(1)
    start = time.perf_counter()
    evaluate(trained.vectors, data.train)
    evaluate(trained.vectors, data.valid)
    found["evaluation"] = time.perf_counter() - start
    found["examples"] = trained.examples / epochs
    return {**found, "epoch": trained.seconds / epochs, "wait_share": trained.waited / trained.seconds}


def measure(measures: Measures, data: TrainingData, *, small: bool) -> None:
    """Train both ways, add to the table."""
    ours = measure_ours(data, 3 if small else 5)
    peer = measure_peer(data)
    examples, shown = ours["examples"], len(data.train.users) + len(data.valid.users)
    peer_name = "the tutorial's way"
    for name, part in (
        ("content: whole epochs with evaluation", "epoch"),
        ("content: feeding alone", "feeding"),
    ):
        measures.add(
            name,
            examples / ours[part],
            examples / peer[part],
            unit="examples/s",
            better="higher",
            peer_name=peer_name,
        )
    evaluated = (shown / ours["evaluation"], shown / peer["evaluation"])
    measures.add(
        "content: evaluation alone", *evaluated, unit="impressions/s", better="higher", peer_name=peer_name
    )
    measures.add(
        "content: waiting for data",
        ours["wait_share"],
        0.15,
        unit="of the epoch",
        better="lower",
        peer_name="the bound",
    )
