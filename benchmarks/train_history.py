"""Feeding and training of nrms: clicks with their histories, against the recommenders project's way and a
plain DataLoader.

Peers, on the same impressions:
- The iterator of the recommenders project for MIND, re-written small: the lines of behaviors.tsv become lists
  of indices once, and every epoch a Python loop over lines parts clicks from skips, samples, looks up the
  words of the titles of candidates and history (as its models read them: 30 words a title), and turns a
  batch's lists into arrays.
- A PyTorch DataLoader over the same staged Parquet, read into memory, one click an item, without workers.
Whole epochs are trained in one process and in two (one thread each, gloo, by Spark's TorchDistributor),
epochs judged by the first.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

from common import Measures
from newslake.spark.session import quiet, spark_session
from newslake.training.data.batches import Clicks
from newslake.training.data.feed import ClickFeed
from newslake.training.data.loading import TrainingData, load_training_data
from newslake.training.data.staging import Staged
from newslake.training.loop.checkpoint import Progress, load_checkpoint
from newslake.training.loop.distributed import train_together
from newslake.training.loop.trainer import train
from newslake.training.models import build_model
from newslake.training.models.settings import TrainSettings, settings_for
from train_content import timed

HISTORY, SKIPS, BATCH, TITLE = 50, 4, 128, 30


class MindIterator:
    """The recommenders project's way: lines to lists, and in every epoch a loop over lines, their candidates
    and their clicks."""

    def __init__(self, folder: Path) -> None:
        self.places: dict[str, int] = {}
        words: dict[str, int] = {}
        titles = [[0] * TITLE]
        for line in _lines(folder / "mind", "news"):
            news_id, _, _, title, *_ = line.split("\t")
            if news_id not in self.places:
                self.places[news_id] = len(titles)
                known = [words.setdefault(word, len(words) + 1) for word in title.lower().split()[:TITLE]]
                titles.append(known + [0] * (TITLE - len(known)))
        self.titles = np.asarray(titles, dtype=np.int32)
        self.lines: list[tuple[list[int], list[int], list[int]]] = []
        for line in _lines(folder / "mind", "behaviors", "train"):
            _, _, _, history, shown = line.split("\t")
            clicked_before = [self.places[news_id] for news_id in history.split()][-HISTORY:]
            candidates = [candidate.split("-") for candidate in shown.split()]
            of_line = (
                [self.places[news_id] for news_id, _ in candidates],
                [int(label) for _, label in candidates],
            )
            self.lines.append(([0] * (HISTORY - len(clicked_before)) + clicked_before, *of_line))

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One epoch's batches: the words of the history's titles (n, HISTORY, TITLE), and of the candidates'
        (n, 1 + SKIPS, TITLE)."""
        histories: list[np.ndarray] = []
        candidates: list[np.ndarray] = []
        for place in np.random.permutation(len(self.lines)):
            history, shown, labels = self.lines[place]
            clicks, skips = [], []
            for article, label in zip(shown, labels, strict=True):
                if label == 1:
                    clicks.append(article)
                else:
                    skips.append(article)
            for click in clicks:
                drawn = random.sample(
                    skips if len(skips) >= SKIPS else skips * (SKIPS // len(skips) + 1), SKIPS
                )
                candidates.append(self.titles[[click, *drawn]])
                histories.append(self.titles[history])
                if len(histories) == BATCH:
                    yield np.asarray(histories, dtype=np.int64), np.asarray(candidates, dtype=np.int64)
                    histories, candidates = [], []
        if histories:
            yield np.asarray(histories, dtype=np.int64), np.asarray(candidates, dtype=np.int64)


def _lines(mind: Path, kind: str, *splits: str) -> Iterator[str]:
    for split in splits or ("train", "dev"):
        for file in sorted((mind / split).glob(f"{kind}*.tsv")):
            yield from file.read_text(encoding="utf-8").split("\n")[:-1]


class PlainDataset(Dataset[tuple[np.ndarray, np.ndarray]]):
    """The staged clicks in memory, one an item."""

    def __init__(self, data: TrainingData) -> None:
        table = pq.read_table(data.click_files)
        self.history, self.clicked = table["history"].to_numpy(), table["clicked"].to_numpy()
        self.skips, self.counts = table["skips"].to_pylist(), table["skip_count"].to_numpy()
        assert data.catalogue.histories is not None
        self.histories = data.catalogue.histories

    def __len__(self) -> int:
        return len(self.clicked)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        count = int(self.counts[place])
        drawn = random.sample(self.skips[place][:count], min(SKIPS, count)) if count else []
        row = [int(self.clicked[place]), *drawn, *([0] * (SKIPS - len(drawn)))]
        return self.histories[self.history[place]], np.asarray(row)


def our_feeding(data: TrainingData) -> Iterator[object]:
    """One epoch's batches, histories looked up as the model does."""
    feed = ClickFeed(data.click_files, seed=0, skips=SKIPS, batch_size=BATCH, grouped=True)
    assert data.catalogue.histories is not None
    table = torch.from_numpy(data.catalogue.histories)
    with feed.epochs(1, 1) as epochs:
        for _, blocks in epochs:
            for block in blocks:
                for batch in block.batches(BATCH, torch.device("cpu")):
                    assert isinstance(batch, Clicks)
                    yield table[batch.histories], batch.articles


def together(master: str, staged: Staged, vectors: Staged, settings: TrainSettings, file: Path) -> Progress:
    """Train in several processes; what the checkpoint says."""
    spark = spark_session("newslake benchmark: train", master=master, extra={"spark.ui.enabled": "false"})
    quiet(spark)
    train_together(spark, staged, vectors, settings, device="cpu", checkpoint=file)
    spark.stop()
    data = load_training_data(staged, vectors)
    model = build_model(settings.model, data.catalogue, settings.shape, seed=0)
    return load_checkpoint(file, model, torch.optim.Adam(model.parameters()))


def measure(
    measures: Measures, folder: Path, folders: tuple[Staged, Staged], data: TrainingData, *, small: bool
) -> None:
    """Feed and train each way, add to the table."""
    torch.set_num_threads(1)
    measure_feeding(measures, folder, data)
    settings = settings_for("nrms", seed=0, skips=SKIPS, epochs=1, patience=1, history=HISTORY)
    # The default, and the batch of which two processes' halves are as large as that.
    for batch_size in (settings.batch_size,) if small else (settings.batch_size, 2 * settings.batch_size):
        measure_processes(
            measures,
            folder,
            folders,
            data,
            replace(settings, batch_size=batch_size),
            rounds=1 if small else 3,
        )


def measure_processes(
    measures: Measures,
    folder: Path,
    folders: tuple[Staged, Staged],
    data: TrainingData,
    settings: TrainSettings,
    *,
    rounds: int,
) -> None:
    """One process and two in turn, an epoch each, by the sum of the rounds: what else a machine does falls on
    both."""
    ones, twos, of_size = [], [], f"batches of {settings.batch_size}"
    for number in range(rounds):
        ones.append(
            train(
                data,
                settings,
                device="cpu",
                threads=1,
                progress=lambda text: print(f"one process: {text}", flush=True),
            )
        )
        checkpoint = folder / f"two-{settings.batch_size}-{number}.pt"
        twos.append(together("local[2]", *folders, replace(settings, processes=2), checkpoint))
        ratio = ones[-1].seconds / twos[-1].seconds
        print(
            f"{of_size}: {ones[-1].seconds:.1f} s, two processes {twos[-1].seconds:.1f} s: {ratio:.2f}x",
            flush=True,
        )
    one, two = (sum(run.seconds for run in runs) for runs in (ones, twos))
    waited, clicks = sum(run.waited for run in ones), rounds * int(data.train.labels.sum())
    aucs = [runs[-1].metrics[-1].ranking.auc or 0.0 for runs in (ones, twos)]
    print(f"{of_size}, valid AUC: one process {aucs[0]:.4f}, two {aucs[1]:.4f}; {os.cpu_count()} cores")
    measures.add(
        f"nrms: waiting for data, {of_size}",
        waited / one,
        0.10,
        unit="of the epoch",
        better="lower",
        peer_name="the bound",
    )
    measures.add(
        f"nrms: whole epochs, two processes, {of_size}",
        clicks / two,
        clicks / one,
        unit="clicks/s",
        better="higher",
        peer_name="one process",
    )


def measure_feeding(measures: Measures, folder: Path, data: TrainingData) -> None:
    """One epoch's clicks with their histories, without a model."""
    clicks = int(data.train.labels.sum())
    start = time.perf_counter()
    iterator = MindIterator(folder)
    parsing = time.perf_counter() - start
    timed(our_feeding(data))  # the first read is of cold files
    ours, peer = timed(our_feeding(data)), timed(iterator.batches())
    loader = timed(iter(DataLoader(PlainDataset(data), batch_size=BATCH, shuffle=True)))
    # Ours reads its files in every epoch; the iterator reads them once, keeps their lines as lists, and goes
    # through those afterwards.
    peers = (
        ("an epoch from files", "MIND iterator", parsing + peer),
        ("an epoch", "MIND iterator, its lines in memory", peer),
        ("an epoch", "DataLoader, its clicks in memory", loader),
    )
    for what, name, seconds in peers:
        measures.add(
            f"nrms: feeding {what} / {name}",
            clicks / ours,
            clicks / seconds,
            unit="clicks/s",
            better="higher",
            peer_name=name,
        )
