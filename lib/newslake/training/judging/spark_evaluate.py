"""Judges models on impressions with Spark: scores, metrics of each impression, and confidence intervals, for
millions of them.

A model is its vectors in two files, opened by every worker as memory maps; an impression's scores are inner
products of their rows.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.files.remote import Place, local, save_array
from newslake.training.data.sampling import draws
from newslake.training.metrics import impression_metrics

METRICS = ("auc", "mrr", "ndcg_at_5", "ndcg_at_10")
_ROWS = 1 << 16
_IMPRESSIONS = 1024  # whose numbers of a bootstrap are drawn at once
# P(Poisson(1) <= k): beyond 15 it is 1 to double precision.
_POISSON = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 16)]))


def scored(impressions: DataFrame, users: Place, articles: Place, *, reader: str) -> DataFrame:
    """The impressions with `scores` (array<float>), one for each of `articles`.

    Args:
        impressions: `articles` (array<int>), and the column `reader`.
        users: file (npy) of float32 (users or histories, dim).
        articles: file (npy) of float32 (articles, dim).
        reader: the column with the row in `users`: user or history.
    """
    schema = T.StructType([*impressions.schema.fields, T.StructField("scores", T.ArrayType(T.FloatType()))])

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        of_users, of_articles = (np.load(local(file), mmap_mode="r") for file in (users, articles))
        for batch in batches:
            lists = batch.column("articles")
            lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
            rows = np.repeat(batch.column(reader).to_numpy(zero_copy_only=False), lengths)
            shown = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
            found = np.empty(len(shown), dtype=np.float32)
            for start in range(0, len(shown), _ROWS):
                part = slice(start, start + _ROWS)
                found[part] = np.einsum("nd,nd->n", of_users[rows[part]], of_articles[shown[part]])
            offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(found))
            yield pa.RecordBatch.from_arrays([*batch.columns, column], names=[*batch.schema.names, "scores"])

    return impressions.mapInArrow(score, schema)


def metrics_of(rows: DataFrame) -> DataFrame:
    """AUC, MRR, nDCG@5 and nDCG@10 of every impression that has both a click and a skip; see
    `metrics.impression_metrics`.

    Args:
        rows: an impression a row: `scores` (array<float> or array<double>), `labels` (array<tinyint>, 1 for a
            click), and any others.

    Returns:
        the other columns, auc, mrr, ndcg_at_5, ndcg_at_10 (double).
    """
    others = [field for field in rows.schema.fields if field.name not in ("scores", "labels")]
    names = [field.name for field in others]
    schema = T.StructType([*others, *(T.StructField(name, T.DoubleType()) for name in METRICS)])

    def measure(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            lists = batch.column("scores")
            lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
            scores, labels = (
                pc.list_flatten(batch.column(name)).to_numpy(zero_copy_only=False)
                for name in ("scores", "labels")
            )
            found = impression_metrics(scores, labels, np.concatenate(([0], np.cumsum(lengths))))
            place = pa.array(found.impression)
            columns = [batch.column(name).take(place) for name in names]
            values = [pa.array(getattr(found, name)) for name in METRICS]
            yield pa.RecordBatch.from_arrays([*columns, *values], names=[*names, *METRICS])

    return rows.mapInArrow(measure, schema)


def bootstrap_sums(metrics: DataFrame, *, resamples: int, seed: int) -> DataFrame:
    """Weighted sums of the metrics in each resample of the impressions, by model.

    The Poisson bootstrap (Chamandy et al., "Estimating Uncertainty for Massive Data Streams", 2012): in a
    resample each impression counts as often as a Poisson number of mean 1 says, which a hash of (seed,
    impression, resample) decides. So it is one pass, and the same impressions are in the same resamples for
    every model: differences of models are paired.

    Args:
        metrics: model, impression_key, and the columns of METRICS.
        resamples: how many. Resample 0 comes on top: all impressions, once each.

    Returns:
        model, resample (0 to resamples), weight and the columns of METRICS: sums.
    """
    fields = [T.StructField("model", T.StringType()), T.StructField("resample", T.IntegerType())]
    schema = T.StructType([*fields, *(T.StructField(name, T.DoubleType()) for name in ("weight", *METRICS))])

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums: dict[str, npt.NDArray[np.float64]] = {}
        for batch in batches:
            models = batch.column("model").to_numpy(zero_copy_only=False)
            keys = batch.column("impression_key").to_numpy(zero_copy_only=False)
            columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in METRICS]
            values = np.stack([np.ones(len(keys)), *columns], axis=1)
            for model in np.unique(models):
                mine = models == model
                total = sums.setdefault(str(model), np.zeros((resamples + 1, 1 + len(METRICS))))
                total += resampled(keys[mine], values[mine], resamples, seed)
        for model, total in sums.items():
            names = pa.array([model] * len(total))
            resample = pa.array(np.arange(len(total), dtype=np.int32))
            yield pa.RecordBatch.from_arrays([names, resample, *map(pa.array, total.T)], schema.names)

    sums_of_columns = [F.sum(name).alias(name) for name in ("weight", *METRICS)]
    return (
        metrics.select("model", "impression_key", *METRICS)
        .mapInArrow(add, schema)
        .groupBy("model", "resample")
        .agg(*sums_of_columns)
    )


def resampled(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.float64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """(resamples + 1, k) sums of values (n, k) of the impressions with these keys (n,), by resample; 0 has
    each of them once."""
    total = np.zeros((resamples + 1, values.shape[1]))
    total[0] = values.sum(axis=0)
    for start in range(0, len(keys), _IMPRESSIONS):
        part = slice(start, start + _IMPRESSIONS)
        total[1:] += counts_of(keys[part], resamples, seed).T @ values[part]
    return total


def counts_of(keys: npt.NDArray[np.int64], resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """(n, resamples) how often each impression is in each resample: Poisson numbers of mean 1."""
    uniform = (draws(seed, keys, resamples) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(_POISSON, uniform.ravel(), side="right").reshape(uniform.shape).astype(np.float64)


def write_vectors(
    folder: Place, users: npt.NDArray[np.float32], articles: npt.NDArray[np.float32]
) -> tuple[Place, Place]:
    """Write a model's vectors where all executors can open them; returns the two files."""
    folder.mkdir(parents=True)
    files = folder / "users.npy", folder / "articles.npy"
    for file, vectors in zip(files, (users, articles), strict=True):
        save_array(file, vectors)
    return files
