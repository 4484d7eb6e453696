"""A small world of readers for tests of the trainer: users like one kind of articles, and have histories that
say which."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from newslake.training.data.loading import Catalogue, Codes, Impressions, TrainingData
from newslake.training.loop.trainer import Trained, train
from newslake.training.models.settings import TrainSettings, settings_for

KINDS, SIZE, LENGTH = 3, 6, 5
SMALL: dict[str, Any] = {
    "seed": 0,
    "skips": 4,
    "dim": 8,
    "heads": 2,
    "history": 5,
    "epochs": 4,
    "patience": 4,
    "batch_size": 32,
    "learning_rate": 0.01,
}


def settings(model: str, **changed: Any) -> TrainSettings:
    return settings_for(model, **{**SMALL, **changed})


def trained(data: TrainingData, chosen: TrainSettings, **options: Any) -> Trained:
    return train(data, chosen, device="cpu", **{"progress": lambda text: None, **options})


def world(
    folder: Path,
    *,
    users: int = 30,
    new_users: int = 30,
    articles: int = 90,
    new_articles: int = 30,
    per_group: int = 64,
) -> TrainingData:
    """Train shows `users` the first articles; valid shows new users new articles. History i is user i's; 0 is
    empty."""
    random = np.random.default_rng(1)
    everything, everybody = articles + new_articles, users + new_users
    kinds = random.normal(size=(KINDS, SIZE)) * 2
    histories = np.full((everybody + 1, LENGTH), -1, dtype=np.int32)
    for user in range(everybody):
        liked = np.arange(articles)[np.arange(articles) % KINDS == user % KINDS]
        length = int(random.integers(1, LENGTH + 1))
        histories[user + 1, :length] = random.choice(liked, length, replace=False)
    names = ("only",)
    catalogue = Catalogue(
        user_ids=pa.array([f"U{i}" for i in range(everybody)]),
        users_in_training=users,
        article_ids=pa.array([f"N{i}" for i in range(everything)]),
        articles_in_training=articles,
        category=Codes(np.ones(everything, np.int64), 2, names),
        subcategory=Codes(np.ones(everything, np.int64), 2, names),
        entity=Codes(np.ones(everything, np.int64), 2, names),
        vectors=(kinds[np.arange(everything) % KINDS] + random.normal(size=(everything, SIZE)) * 0.5).astype(
            np.float32
        ),
        histories=histories,
        latest_history=np.arange(1, everybody + 1, dtype=np.int32),
        first_history=np.arange(1, everybody + 1, dtype=np.int32),
    )
    train = _shown(random, np.arange(users), np.arange(articles), 200)
    valid = _shown(random, np.arange(users, everybody), np.arange(articles, everything), 60)
    return TrainingData(catalogue, _clicks(folder, train, per_group), train, valid)


def _shown(random: np.random.Generator, users: np.ndarray, articles: np.ndarray, count: int) -> Impressions:
    of = random.choice(users, count).astype(np.int32)
    shown = np.stack([random.choice(articles, 8, replace=False) for _ in range(count)]).astype(np.int32)
    labels = (shown % KINDS == of[:, None] % KINDS).astype(np.int8)
    return Impressions(
        of, shown.ravel(), labels.ravel(), np.arange(0, 8 * count + 1, 8, dtype=np.int64), of + 1
    )


def _clicks(folder: Path, impressions: Impressions, per_group: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    articles, labels = impressions.articles.reshape(-1, 8), impressions.labels.reshape(-1, 8) == 1
    row, place = np.nonzero(labels)
    skips = np.stack(
        [np.concatenate((articles[i][~labels[i]], np.zeros(labels[i].sum(), np.int32))) for i in row]
    )
    table = pa.table(
        {
            "click_id": row.astype(np.int64) * 8 + place,
            "user": impressions.users[row],
            "history": impressions.users[row] + 1,
            "clicked": articles[row, place],
            "skip_count": (~labels[row]).sum(axis=1).astype(np.int32),
            "skips": pa.array(list(skips.astype(np.int32)), pa.list_(pa.int32())),
        }
    )
    pq.write_table(table, folder / "clicks.parquet", row_group_size=per_group)
    return [str(folder / "clicks.parquet")]
