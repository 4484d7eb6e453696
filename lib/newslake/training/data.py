"""Loads a staged folder for the trainer: pyarrow and numpy, no Spark, so that any process that sees the folder can train."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from newslake.errors import JobFailed
from newslake.training.examples import TRAIN, VALID
from newslake.training.staging import Staged

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """One attribute of each article as a number from 0 to count - 1, in the attribute's sorted order; 0 where it has none."""

    values: Ints
    count: int


@dataclass(frozen=True)
class Catalogue:
    """Users and articles by index. Those with an index below `..._in_training` are met in training, the others are new.

    Attributes:
        vectors: (articles, size) float32 of the encoder, None where the model needs none.
    """

    user_ids: pa.Array
    users_in_training: int
    article_ids: pa.Array
    articles_in_training: int
    category: Codes
    subcategory: Codes
    entity: Codes
    vectors: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Impressions:
    """Impressions with all their candidates, flat. Impression i is the candidates from offsets[i] to offsets[i + 1].

    Attributes:
        users: (impressions,) user index.
        articles: (candidates,) article index.
        labels: (candidates,) 1 for a click, 0 for a skip.
        offsets: (impressions + 1,).
    """

    users: npt.NDArray[np.int32]
    articles: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int8]
    offsets: Ints


@dataclass(frozen=True)
class TrainingData:
    """All that one process trains and judges with. The clicks stay in their files, which the feed reads epoch by epoch."""

    catalogue: Catalogue
    click_files: list[str]
    train: Impressions
    valid: Impressions


def load_training_data(staged: Staged, vectors: Staged | None) -> TrainingData:
    """The data in a staged folder, and the articles' vectors where a staged folder of them is given."""
    return TrainingData(
        load_catalogue(staged, vectors), staged.files("clicks"), load_impressions(staged, TRAIN), load_impressions(staged, VALID)
    )


def load_catalogue(staged: Staged, vectors: Staged | None) -> Catalogue:
    """Users and articles of a staged folder, with the articles' vectors where a staged folder of vectors is given."""
    users = _table(staged.files("users"), ["user", "user_id"], sort_by="user")
    articles = _table(staged.files("articles"), ["article", "news_id", "category", "subcategory", "entity"], sort_by="article")
    return Catalogue(
        user_ids=users["user_id"].combine_chunks(),
        users_in_training=staged.sizes["users_in_training"],
        article_ids=articles["news_id"].combine_chunks(),
        articles_in_training=staged.sizes["articles_in_training"],
        category=_codes(articles["category"]),
        subcategory=_codes(articles["subcategory"]),
        entity=_codes(articles["entity"]),
        vectors=None if vectors is None else _load_vectors(vectors, len(articles)),
    )


def load_impressions(staged: Staged, role: str) -> Impressions:
    """All impressions of a role (train or valid).

    Read with pyarrow rather than Petastorm: evaluation wants every row once, in order, and lists as long as they are,
    whose offsets and values in Arrow are the very arrays that the metrics take.
    """
    table = pq.read_table(staged.files(role), columns=["user", "articles", "labels"], use_threads=True)
    if len(table) != staged.sizes[role]:
        raise JobFailed(f"read {len(table):,} of {staged.sizes[role]:,} impressions of {role}")
    articles, labels = table["articles"].combine_chunks(), table["labels"].combine_chunks()
    return Impressions(
        users=table["user"].to_numpy(),
        articles=pc.list_flatten(articles).to_numpy(zero_copy_only=False),
        labels=pc.list_flatten(labels).to_numpy(zero_copy_only=False),
        offsets=np.concatenate(([0], np.cumsum(pc.list_value_length(articles).to_numpy(zero_copy_only=False), dtype=np.int64))),
    )


def _load_vectors(vectors: Staged, articles: int) -> npt.NDArray[np.float32]:
    """(articles, size): an article without a vector takes the mean of the others, which tells a model nothing about it."""
    table = pq.read_table(vectors.files("embeddings"), columns=["article", "embedding"])
    if len(table) != vectors.sizes["vectors"]:
        raise JobFailed(f"read {len(table):,} of {vectors.sizes['vectors']:,} article vectors")
    flat = pc.list_flatten(table["embedding"].combine_chunks()).to_numpy(zero_copy_only=False)
    found = flat.reshape(len(table), vectors.sizes["vector_size"])
    matrix = np.tile(found.mean(axis=0, dtype=np.float64).astype(np.float32), (articles, 1))
    matrix[table["article"].to_numpy()] = found
    return matrix


def _codes(column: pa.ChunkedArray) -> Codes:
    values = pc.unique(column.drop_null()).sort()
    found = pc.index_in(column, value_set=values)
    return Codes(pc.add(pc.fill_null(found, -1), 1).to_numpy().astype(np.int64), len(values) + 1)


def _table(files: list[str], columns: list[str], *, sort_by: str) -> pa.Table:
    table = pq.read_table(files, columns=columns).sort_by(sort_by)
    if not np.array_equal(table[sort_by].to_numpy(), np.arange(len(table))):
        raise JobFailed(f"the staged {sort_by} indices are not 0 to {len(table) - 1}; remove the staging folder and run again")
    return table
