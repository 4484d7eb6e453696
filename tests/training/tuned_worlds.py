"""A small world of readers whose articles have texts, by an encoder of three layers: for tests of tuning
it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from newslake.text.encoder import Encoder
from newslake.text.spec import EncoderSpec, Pooling, resolve
from newslake.training.data.loading import Catalogue, TrainingData
from newslake.training.data.texts import Texts, _tokenise, load_texts, tuned_encoder
from newslake.training.models import HistoryModel, build_model
from newslake.training.models.settings import TrainSettings
from tests.text.conftest import WORDS, save_bert
from tests.training import worlds
from tests.training.worlds import KINDS, world

LAYERS = 3
TUNED: dict[str, Any] = {"epochs": 2, "tune_layers": 1, "tune_learning_rate": 1e-3}
CPU = torch.device("cpu")
Pair = tuple[str, str]


def settings(model: str = "nrms", **changed: Any) -> TrainSettings:
    return worlds.settings(model, **{**TUNED, **changed})


def pairs(articles: int) -> list[Pair]:
    """Titles and abstracts of several lengths, in words that mostly tell an article's kind."""
    random = np.random.default_rng(4)
    found = []
    for article in range(articles):
        own = WORDS[article % KINDS :: KINDS]
        words = [
            str(random.choice(own if random.random() < 0.8 else WORDS))
            for _ in range(int(random.integers(5, 20)))
        ]
        found.append((" ".join(words[:4]), " ".join(words[4:])))
    return found


def with_texts(
    catalogue: Catalogue,
    folder: Path,
    scratch: Path,
    *,
    pooling: Pooling | None = "mean",
    unit: bool | None = False,
    max_tokens: int = 50,
) -> Catalogue:
    """The catalogue with texts, and with the vectors that the encoder gives them; article 7 has neither."""
    given = pairs(len(catalogue.article_ids))
    frozen = resolve(
        EncoderSpec(str(folder), pooling, 64, unit=unit, fields=("title", "abstract"), long_text="truncate")
    )
    vectors = Encoder(frozen).encode([first for first, _ in given], [second for _, second in given]).vectors
    vectors[7] = np.delete(vectors, 7, axis=0).mean(axis=0)
    given[7] = ("", "")
    encoder = tuned_encoder(str(folder), frozen.encoder_id, layers=LAYERS, max_tokens=max_tokens)
    rows = [(article, *pair) for article, pair in enumerate(given)]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(column, kind)
            for column, kind in zip(
                zip(*rows, strict=True), (pa.int32(), pa.string(), pa.string()), strict=True
            )
        ],
        names=["article", "first", "second"],
    )
    scratch.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_batches(_tokenise(encoder, [batch])), scratch / "texts.parquet")
    return replace(
        catalogue, vectors=vectors, texts=load_texts([str(scratch / "texts.parquet")], len(given), encoder)
    )


def small_world(folder: Path) -> TrainingData:
    """The same in every process that opens the folder: the model and the clicks are there already, or are
    made."""
    if not (folder / "bert").exists():
        save_bert(folder / "bert", layers=LAYERS, width=32, heads=4, seed=1)
    data = world(folder / "world")
    return replace(data, catalogue=with_texts(data.catalogue, folder / "bert", folder / "texts"))


def texts_of(catalogue: Catalogue) -> Texts:
    assert catalogue.texts is not None
    return catalogue.texts


def frozen_of(catalogue: Catalogue) -> torch.Tensor:
    assert catalogue.vectors is not None
    return torch.from_numpy(catalogue.vectors)


def make_model(data: TrainingData, chosen: TrainSettings) -> HistoryModel:
    model = build_model(chosen.model, data.catalogue, chosen.shape, seed=1)
    assert isinstance(model, HistoryModel)
    return model.train()
