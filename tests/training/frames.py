"""Small tables for training tests, written out by hand or drawn from a seed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.lake.lakehouse import Lakehouse
from newslake.spark.frames import frame_of
from tests.tables import put

NOON = datetime(2019, 11, 11, 12, 0, 0, tzinfo=UTC).replace(tzinfo=None)
# news_id, category, subcategory, [(title or abstract, Wikidata id)]
NewsRow = tuple[str, str | None, str | None, list[tuple[str, str]]]
# split, impression_id, user_id, history, candidates such as "N1-1 N2-0" (no -0 or -1: no label)
Behavior = tuple[str, str, str, str, str]


def impressions(spark: SparkSession, behaviors: list[Behavior], schema: T.StructType) -> DataFrame:
    """The table impressions."""
    rows = []
    for split, impression_id, user_id, _, shown in behaviors:
        for position, candidate in enumerate(shown.split()):
            news_id, _, label = candidate.partition("-")
            clicked = {"1": True, "0": False, "": None}[label]
            rows.append(
                (split, impression_id, position, user_id, NOON, NOON, news_id, clicked, None, None, None)
            )
    return frame_of(spark, rows, schema)


def click_history(spark: SparkSession, behaviors: list[Behavior], schema: T.StructType) -> DataFrame:
    """The table click_history."""
    rows = [
        (split, impression_id, user_id, NOON, history.split())
        for split, impression_id, user_id, history, _ in behaviors
    ]
    return frame_of(spark, rows, schema)


def news(spark: SparkSession, rows: Sequence[NewsRow], schema: T.StructType) -> DataFrame:
    """The table news."""
    full = [
        (
            n,
            c,
            s,
            n,
            None,
            None,
            None,
            [(field, w, "O", w, 1.0, [0], [w]) for field, w in entities],
            None,
            None,
            "hash",
        )
        for n, c, s, entities in rows
    ]
    return frame_of(spark, full, schema)


def embeddings(
    spark: SparkSession, vectors: dict[str, list[float]], schema: T.StructType, encoder_id: str = "test"
) -> DataFrame:
    """The table article_embeddings."""
    return frame_of(
        spark, [(news_id, encoder_id, "hash", 3, vector) for news_id, vector in vectors.items()], schema
    )


def drawn_behaviors(
    seed: int, *, users: int = 12, articles: int = 60, impressions: int = 120, with_history: bool = False
) -> list[Behavior]:
    """Train and dev behaviours: a user likes the articles whose number leaves the user's on division by 3;
    dev shows new articles too.

    With histories, users 0 to 2 have none, and each other user up to five of articles 0 to 17 that the user
    likes.
    """
    random = np.random.default_rng(seed)
    found: list[Behavior] = []
    for number in range(impressions):
        split = "dev" if number % 4 == 0 else "train"
        user = int(random.integers(users))
        pool = range(articles // 3, articles) if split == "dev" else range(articles // 3 * 2)
        shown = random.choice(pool, size=int(random.integers(3, 12)), replace=False)
        liked = [
            bool((article % 3 == user % 3 and random.random() < 0.9) or random.random() < 0.05)
            for article in shown
        ]
        candidates = " ".join(
            f"N{article:03}-{int(label)}" for article, label in zip(shown, liked, strict=True)
        )
        past = [f"N{article:03}" for article in range(18) if article % 3 == user % 3][: user // 2]
        found.append(
            (
                split,
                f"{number}",
                f"U{user:02}",
                " ".join(past) if with_history and user > 2 else "",
                candidates,
            )
        )
    return found


def drawn_vectors(seed: int, articles: int = 60, size: int = 8) -> dict[str, list[float]]:
    """Vectors that tell an article's kind (its number modulo 3), with noise."""
    random = np.random.default_rng(seed)
    kinds = random.normal(size=(3, size)) * 2
    return {
        f"N{i:03}": (kinds[i % 3] + random.normal(size=size) * 0.3).astype(np.float32).tolist()
        for i in range(articles)
    }


def fill(lake: Lakehouse, behaviors: list[Behavior], vectors: dict[str, list[float]] | None = None) -> None:
    """Write the input tables of train_recommender; an article's category is its number modulo 3."""
    spark = lake.spark
    put(lake, "impressions", impressions(spark, behaviors, lake.schema("impressions")))
    put(lake, "click_history", click_history(spark, behaviors, lake.schema("click_history")))
    ids = sorted({candidate.split("-")[0] for behavior in behaviors for candidate in behavior[4].split()})
    rows = [(n, f"c{int(n[1:]) % 3}", f"s{int(n[1:]) % 6}", [("title", f"Q{int(n[1:]) % 5}")]) for n in ids]
    put(lake, "news", news(spark, rows, lake.schema("news")))
    if vectors is not None:
        put(lake, "article_embeddings", embeddings(spark, vectors, lake.schema("article_embeddings")))


def write_clicks(
    folder: Path, clicks: int, *, width: int = 6, per_group: int = 16, files: int = 2, seed: int = 0
) -> list[str]:
    """Staged clicks as staging writes them. Click i of user i has article i; its skips are 1000 * i and on, i
    modulo width of them."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.arange(clicks) % (width + 1)
    skips = 1000 * np.arange(clicks)[:, None] + np.arange(width)
    skips[np.arange(width) >= counts[:, None]] = 0
    ids = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, clicks)
    names = []
    for number, part in enumerate(np.array_split(np.arange(clicks), files)):
        table = pa.table(
            {
                "click_id": ids[part],
                "user": part.astype(np.int32),
                "history": (part + 1).astype(np.int32),
                "clicked": part.astype(np.int32),
                "skip_count": counts[part].astype(np.int32),
                "skips": pa.array(list(skips[part].astype(np.int32)), pa.list_(pa.int32())),
            }
        )
        names.append(str(folder / f"part-{number:05}.parquet"))
        pq.write_table(table, names[-1], row_group_size=per_group)
    return names


def collected(rows: DataFrame, *keys: str) -> list[dict[str, Any]]:
    """All rows as dicts, sorted."""
    return [row.asDict(recursive=True) for row in rows.orderBy(*(F.col(key) for key in keys)).collect()]
