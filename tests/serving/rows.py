"""Rows to serve, and a look at what Milvus holds."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from newslake.lake.lakehouse import Lakehouse
from newslake.serving.stores.milvus.alias import read_name
from newslake.serving.stores.milvus.client import opened
from newslake.serving.stores.store import ARTICLES, USERS, Kind
from newslake.spark.frames import frame_of
from tests.tables import put

SIZE = 4
Article = tuple[str, str, str]
"""news_id, the day, and what the vector is made from."""


def vector_of(text: str) -> list[float]:
    """A unit vector that a text stands for."""
    digits = [float(1 + (hash_of(text) >> shift) % 97) for shift in range(0, 8 * SIZE, 8)]
    length = sum(x * x for x in digits) ** 0.5
    return [x / length for x in digits]


def hash_of(text: str) -> int:
    """A number that differs with the text, the same in every process."""
    value = 0
    for letter in text:
        value = (value * 131 + ord(letter)) % (1 << 61)
    return value * 2654435761


def article_vectors(
    lake: Lakehouse, articles: Iterable[Article], *, encoder_id: str = "e1", topic_model: str = "t1"
) -> DataFrame:
    """Rows of article_vectors."""
    rows = [(day, news_id, encoder_id, topic_model, vector_of(text), text) for news_id, day, text in articles]
    frame = frame_of(
        lake.spark,
        rows,
        "news_date string, news_id string, encoder_id string, topic_model string, vector array<float>,"
        " inputs_hash string",
    )
    return frame.withColumn("news_date", frame.news_date.cast("date"))


def user_vectors(
    lake: Lakehouse, day: str, users: Iterable[tuple[str, int, str, float]], *, topic_model: str = "t1"
) -> DataFrame:
    """Rows of user_vectors: user_id, tag_group, phrase_id, weight."""
    rows = [
        (day, user, group, phrase, "e1", topic_model, weight, vector_of(user + phrase))
        for user, group, phrase, weight in users
    ]
    frame = frame_of(
        lake.spark,
        rows,
        "as_of string, user_id string, tag_group int, phrase_id string, encoder_id string, topic_model"
        " string, weight double, vector array<float>",
    )
    return frame.withColumn("as_of", frame.as_of.cast("date"))


def trained(
    lake: Lakehouse,
    table: str,
    key: str,
    vectors: Sequence[tuple[str, list[float]]],
    *,
    model: str = "mf",
    run_id: str = "r1",
) -> None:
    """Write rows of user_embeddings or news_embeddings."""
    ids, values = [item for item, _ in vectors], [vector for _, vector in vectors]
    data = pa.table(
        {
            key: ids,
            "model": [model] * len(ids),
            "run_id": [run_id] * len(ids),
            "embedding": pa.array(values, pa.list_(pa.float32())),
        }
    )
    put(lake, table, lake.spark.createDataFrame(data))


def held(uri: str, kind: Kind = ARTICLES, prefix: str = "newslake") -> dict[str, dict[str, Any]]:
    """What the collection holds: its key -> the other fields."""
    with opened(uri) as client:
        name = read_name(client, kind, prefix)
        client.load_collection(name)
        fields = [kind.key, *kind.scalars, "vector"]
        found = client.query(name, filter="", output_fields=fields, limit=10_000)
        return {row[kind.key]: {field: row[field] for field in fields[1:]} for row in found}


def nearest(
    uri: str, vector: list[float], *, kind: Kind = ARTICLES, where: str = "", limit: int = 3
) -> list[str]:
    """Keys of the nearest items by cosine."""
    with opened(uri) as client:
        name = read_name(client, kind, "newslake")
        client.load_collection(name)
        found = client.search(name, data=[vector], limit=limit, filter=where)
        return [hit[kind.key] for hit in found[0]]


__all__ = [
    "ARTICLES",
    "SIZE",
    "USERS",
    "Article",
    "article_vectors",
    "held",
    "nearest",
    "trained",
    "user_vectors",
    "vector_of",
]
