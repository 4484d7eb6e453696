"""Loads a staged folder for the trainer: pyarrow and numpy, no Spark, so that any process that sees the
folder can train."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from newslake.errors import JobFailed, UserError
from newslake.training.data.staging import Staged
from newslake.training.data.texts import StagedTexts, Texts, load_texts
from newslake.training.data.time_splits import TRAIN, VALID

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Codes:
    """One attribute of each article as a number from 0 to count - 1, in the attribute's sorted order; 0 where
    it has none.

    A value that a trained model has never met is no lack of one: it has the number `count`, to which the
    model's embedding gives the mean of those that it has met (see models.base.IdEmbedding), as it did in
    training to values of the impressions to judge by.

    Attributes:
        values: (articles,) the numbers, from 0 to count.
        count: how many there are, 0 counted.
        names: (count - 1,) what numbers 1 and on stand for.
    """

    values: Ints
    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """Users and articles by index. Those with an index below `..._in_training` are met in training, the
    others are new.

    Attributes:
        vectors: (articles, size) float32 of the encoder, None where the model needs none.
        histories: (histories, most clicks) int32 article indices, latest first, -1 where a history is
            shorter; row 0 is empty.
        latest_history: (users,) int32 the history of each user at the latest impression.
        first_history: (users,) int32 that at the first impression, which holds no click of any impression.
        texts: the articles' texts, where the encoder is tuned; None where its vectors are all that is read.
    """

    user_ids: pa.Array
    users_in_training: int
    article_ids: pa.Array
    articles_in_training: int
    category: Codes
    subcategory: Codes
    entity: Codes
    vectors: npt.NDArray[np.float32] | None = None
    histories: npt.NDArray[np.int32] | None = None
    latest_history: npt.NDArray[np.int32] | None = None
    first_history: npt.NDArray[np.int32] | None = None
    texts: Texts | None = None


@dataclass(frozen=True)
class Impressions:
    """Impressions with all their candidates, flat. Impression i is the candidates from offsets[i] to
    offsets[i + 1].

    Attributes:
        users: (impressions,) user index.
        articles: (candidates,) article index.
        labels: (candidates,) 1 for a click, 0 for a skip.
        offsets: (impressions + 1,).
        histories: (impressions,) history index; None where none was staged.
    """

    users: npt.NDArray[np.int32]
    articles: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int8]
    offsets: Ints
    histories: npt.NDArray[np.int32] | None = None

    def readers(self, reads_history: bool) -> npt.NDArray[np.int32]:
        """(impressions,) what a model knows the user by: the history or the user's own index."""
        if not reads_history:
            return self.users
        if self.histories is None:
            raise ValueError("these impressions have no histories")
        return self.histories


@dataclass(frozen=True)
class TrainingData:
    """All that one process trains and judges with. The clicks stay in their files, which the feed reads epoch
    by epoch."""

    catalogue: Catalogue
    click_files: list[str]
    train: Impressions
    valid: Impressions


def load_training_data(
    staged: Staged, vectors: Staged | None, texts: StagedTexts | None = None
) -> TrainingData:
    """The data in a staged folder, and the articles' vectors and texts where staged folders of them are
    given."""
    catalogue = load_catalogue(staged, vectors, texts)
    return TrainingData(
        catalogue, staged.click_files(), load_impressions(staged, TRAIN), load_impressions(staged, VALID)
    )


def load_catalogue(staged: Staged, vectors: Staged | None, texts: StagedTexts | None = None) -> Catalogue:
    """Users and articles of a staged folder, with the articles' vectors and texts where staged folders of
    them are given."""
    users = _table(staged.files("users"), ["user", "user_id", "history", "first_history"], sort_by="user")
    articles = _table(
        staged.files("articles"),
        ["article", "news_id", "category", "subcategory", "entity"],
        sort_by="article",
    )
    return Catalogue(
        user_ids=users["user_id"].combine_chunks(),
        users_in_training=staged.sizes["users_in_training"],
        article_ids=articles["news_id"].combine_chunks(),
        articles_in_training=staged.sizes["articles_in_training"],
        category=codes_of(articles["category"]),
        subcategory=codes_of(articles["subcategory"]),
        entity=codes_of(articles["entity"]),
        vectors=None if vectors is None else _load_vectors(vectors, len(articles)),
        histories=_load_histories(staged),
        latest_history=users["history"].to_numpy(),
        first_history=users["first_history"].to_numpy(),
        texts=None if texts is None else load_texts(texts.files("tokens"), len(articles), texts.encoder),
    )


def load_impressions(staged: Staged, role: str) -> Impressions:
    """All impressions of a role (train, valid or test).

    Read with pyarrow rather than Petastorm: evaluation wants every row once, in order, and lists as long as
    they are, whose offsets and values in Arrow are the very arrays that the metrics take.
    """
    table = pq.read_table(
        staged.files(role), columns=["user", "history", "articles", "labels"], use_threads=True
    )
    if len(table) != staged.sizes[role]:
        raise JobFailed(f"read {len(table):,} of {staged.sizes[role]:,} impressions of {role}")
    articles, labels = table["articles"].combine_chunks(), table["labels"].combine_chunks()
    return Impressions(
        users=table["user"].to_numpy(),
        articles=pc.list_flatten(articles).to_numpy(zero_copy_only=False),
        labels=pc.list_flatten(labels).to_numpy(zero_copy_only=False),
        offsets=np.concatenate(
            ([0], np.cumsum(pc.list_value_length(articles).to_numpy(zero_copy_only=False), dtype=np.int64))
        ),
        histories=table["history"].to_numpy(),
    )


def flat_vectors(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """(n, size) a column of n vectors.

    Raises:
        UserError: they have several sizes.
    """
    lists = column.combine_chunks()
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    sizes = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(sizes) != 1:
        raise UserError(
            f"the articles' vectors have several sizes: {sorted(sizes)}; encode them again with one encoder"
        )
    return flat.reshape(len(lists), sizes[0])


def padded(lists: pa.ListArray, width: int) -> npt.NDArray[np.int32]:
    """(n, width) the lists' first `width` integers, -1 where a list is shorter."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    starts = np.cumsum(lengths) - lengths
    table = np.full((len(lengths), width), -1, dtype=np.int32)
    there = np.arange(width) < lengths[:, None]
    table[there] = flat[(starts[:, None] + np.arange(width))[there]]
    return table


def _load_histories(staged: Staged) -> npt.NDArray[np.int32]:
    found = pq.read_table(staged.files("histories"), columns=["history", "articles"])
    lists = found["articles"].combine_chunks()
    longest = int(pc.max(pc.list_value_length(lists)).as_py() or 0) if len(found) else 0
    table = np.full((staged.sizes["histories"], max(1, longest)), -1, dtype=np.int32)
    if len(found):
        table[found["history"].to_numpy()] = padded(lists, table.shape[1])
    return table


def _load_vectors(vectors: Staged, articles: int) -> npt.NDArray[np.float32]:
    """(articles, size): an article without a vector takes the mean of the others, which tells a model nothing
    about it."""
    table = pq.read_table(vectors.files("embeddings"), columns=["article", "embedding"])
    if len(table) != vectors.sizes["vectors"]:
        raise JobFailed(f"read {len(table):,} of {vectors.sizes['vectors']:,} article vectors")
    found = flat_vectors(table["embedding"])
    matrix = np.tile(found.mean(axis=0, dtype=np.float64).astype(np.float32), (articles, 1))
    matrix[table["article"].to_numpy()] = found
    return matrix


def codes_of(column: pa.ChunkedArray, names: Sequence[str] | None = None) -> Codes:
    """A column of strings as numbers: of its own sorted values, or of `names`, where what is not among them
    is unknown (see Codes)."""
    values = pc.unique(column.drop_null()).sort() if names is None else pa.array(list(names), pa.string())
    found = pc.fill_null(pc.index_in(column, value_set=values, skip_nulls=True), len(values))
    numbers = pc.if_else(pc.is_valid(column), pc.add(found, 1), 0).to_numpy().astype(np.int64)
    return Codes(numbers, len(values) + 1, tuple(values.to_pylist()))


def coded_as(codes: Codes, names: Sequence[str]) -> Codes:
    """The same attribute with the numbers that it has among `names`, where what is not among them is unknown
    (see Codes)."""
    values = pa.array([None, *codes.names], pa.string()).take(pa.array(codes.values))
    return codes_of(pa.chunked_array([values]), names)


def _table(files: list[str], columns: list[str], *, sort_by: str) -> pa.Table:
    table = pq.read_table(files, columns=columns).sort_by(sort_by)
    if not np.array_equal(table[sort_by].to_numpy(), np.arange(len(table))):
        raise JobFailed(
            f"the staged {sort_by} indices are not 0 to {len(table) - 1}; remove the staging folder and run"
            " again"
        )
    return table
