"""Features of the candidates of many readers, in the executors: rows go in by reader and moment, and come out
by candidate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from newslake.ranking.features import FEATURES, RATES, Articles, Floats, Reader, of_reader
from newslake.ranking.recommended import Recommender, Scores
from newslake.ranking.vector_map import Held, opened
from newslake.spark.python_workers import map_with_torch

KEYS = ("query", "user_id", "hour")
SCORE = "ranker_score"
Matrix = npt.NDArray[np.float32]
Add = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class VectorPaths:
    """What workers open: files of vectors (see `VectorMap`) by the article embeddings' rows, the joined
    article vectors', the users'; and the recommender whose score is a feature, if any."""

    embeddings: Held | None
    articles: Held | None
    users: Held | None
    recommender: Recommender | None = None


def with_features(queries: DataFrame, paths: VectorPaths, passing: Sequence[str]) -> DataFrame:
    """The features of every candidate.

    Args:
        queries: what `queries.queries_of` gives.
        paths: where the vectors are that its rows are numbers of.
        passing: fields of a candidate that are handed on.

    Returns:
        query, user_id, hour, the fields handed on, and FEATURES (float; NaN where unknown).
    """
    features = [T.StructField(name, T.FloatType()) for name in FEATURES]

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for kept, matrix in _by_candidate(batches, paths, passing):
            columns = [pa.array(np.ascontiguousarray(column)) for column in matrix.T]
            yield pa.RecordBatch.from_arrays([*kept.columns, *columns], names=[*kept.schema.names, *FEATURES])

    return _mapped(queries, paths, add, [*_kept(queries, passing), *features])


def with_scores(
    queries: DataFrame,
    paths: VectorPaths,
    passing: Sequence[str],
    score: Callable[[], Callable[[Matrix], Floats]],
) -> DataFrame:
    """The score of every candidate by a ranker, without its features' ever leaving the worker.

    Args:
        queries, paths, passing: as `with_features` takes them.
        score: makes, once in each task, what turns (n, features) into (n,) scores.

    Returns:
        query, user_id, hour, the fields handed on, and ranker_score (double).
    """

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scores = score()
        for kept, matrix in _by_candidate(batches, paths, passing):
            found = pa.array(scores(matrix).astype(np.float64))
            yield pa.RecordBatch.from_arrays([*kept.columns, found], names=[*kept.schema.names, SCORE])

    return _mapped(queries, paths, add, [*_kept(queries, passing), T.StructField(SCORE, T.DoubleType())])


def _mapped(queries: DataFrame, paths: VectorPaths, add: Add, fields: list[T.StructField]) -> DataFrame:
    # Only a recommender needs PyTorch.
    if paths.recommender is None:
        return queries.mapInArrow(add, T.StructType(fields))
    return map_with_torch(queries, add, T.StructType(fields))


def _kept(queries: DataFrame, passing: Sequence[str]) -> list[T.StructField]:
    candidate: Any = queries.schema["candidates"].dataType
    return [*(queries.schema[name] for name in KEYS), *(candidate.elementType[name] for name in passing)]


def _by_candidate(
    batches: Iterable[pa.RecordBatch], paths: VectorPaths, passing: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, Matrix]]:
    """For each batch what is handed on, by candidate, and the candidates' (n, features)."""
    embeddings, articles, users = opened(paths.embeddings), opened(paths.articles), opened(paths.users)
    recommender = None if paths.recommender is None else Scores(paths.recommender)
    for batch in batches:
        found, history, profile = (_flat(batch, name) for name in ("candidates", "history", "profile"))
        lengths = _numbers(batch.column("history_length"))
        matrix = np.full((len(found.rows), len(FEATURES)), np.nan, np.float32)
        place = {name: column for column, name in enumerate(FEATURES)}
        for name in (*RATES, "age_hours", "exposures"):
            matrix[:, place[name]] = _numbers(found.rows.field(name))
        categories = {
            name: (_numbers(found.rows.field(name)), _numbers(history.rows.field(name)))
            for name in ("category", "subcategory")
        }
        of_candidates = {name: _numbers(found.rows.field(name)) for name in ("embedding", "vector")}
        of_history, of_profile = (
            _numbers(history.rows.field("embedding")),
            _numbers(profile.rows.field("vector")),
        )
        weights = _numbers(profile.rows.field("weight"))
        if recommender is not None:
            matrix[:, place["recommended"]] = _recommended(recommender, batch, found, history)
        for query in range(batch.num_rows):
            here, before, own = found.of(query), history.of(query), profile.of(query)
            read = of_history[before]
            past, profile_rows = _taken(embeddings, read[read >= 0]), _taken(users, of_profile[own])
            (of_category, category), (of_subcategory, subcategory) = (
                categories["category"],
                categories["subcategory"],
            )
            reader = Reader(
                category[before], subcategory[before], past, int(lengths[query]), profile_rows, weights[own]
            )
            text, vectors = (
                _taken(*side)
                for side in (
                    (embeddings, of_candidates["embedding"][here]),
                    (articles, of_candidates["vector"][here]),
                )
            )
            shown = Articles(of_category[here], of_subcategory[here], text, vectors)
            for name, values in of_reader(reader, shown).items():
                matrix[here, place[name]] = values
        owner = pa.array(np.repeat(np.arange(batch.num_rows), np.diff(found.offsets)))
        columns = [
            *(batch.column(name).take(owner) for name in KEYS),
            *(found.rows.field(name) for name in passing),
        ]
        yield pa.RecordBatch.from_arrays(columns, names=[*KEYS, *passing]), matrix


def _recommended(
    recommender: Scores, batch: pa.RecordBatch, candidates: "_Lists", history: "_Lists"
) -> Floats:
    """(n,) the recommender's scores of a batch's candidates."""
    shown, read = (_numbers(side.rows.field("recommended")) for side in (candidates, history))
    queries = range(batch.num_rows)
    hours = [hour.replace(tzinfo=None) for hour in batch.column("hour").to_pylist()]
    of_users = recommender.users([read[history.of(query)] for query in queries], hours)
    found = np.empty(len(shown), np.float32)
    for query in queries:
        here = candidates.of(query)
        found[here] = recommender.of(of_users[query], shown[here])
    return found


@dataclass(frozen=True)
class _Lists:
    """A column of lists of structs: all structs, and where each row's begin and end."""

    rows: pa.StructArray
    offsets: npt.NDArray[np.int64]

    def of(self, row: int) -> slice:
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))


def _flat(batch: pa.RecordBatch, name: str) -> _Lists:
    lists = batch.column(name)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Lists(pc.list_flatten(lists), np.concatenate(([0], np.cumsum(lengths))))


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def _taken(vectors: npt.NDArray[np.float32], rows: npt.NDArray[np.int32]) -> Floats:
    """(n, size) of the rows, NaN where the row is -1."""
    if not len(vectors):
        return np.empty((len(rows), 0), np.float32)
    found = np.array(vectors[np.maximum(rows, 0)])
    found[rows < 0] = np.nan
    return found
