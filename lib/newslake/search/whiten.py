"""Whitening: what all vectors have in common counts less in their cosines, so that what tells subjects apart
decides who is near.

Sentence vectors lie in a narrow cone: a few directions that say little of the subject hold most of their
variance, and two texts can be near for their tone alone. Scaling every principal direction by a negative
power of its variance evens that out (Su et al., "Whitening Sentence Representations for Better Semantics and
Faster Retrieval", arXiv:2103.15316, 2021, who take the full power). Here the power is a setting, vectors are
not centred (so that none loses its direction), and the scaling is followed by the rotation back (ZCA, Bell
and Sejnowski 1997), so that it depends on no choice of signs and varies smoothly with the data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession

from newslake.search.nearest import split_units
from newslake.search.unit_rows import unit_rows
from newslake.search.vector_files import Projection, Unit, VectorFiles, chunks
from newslake.spark.connect import parallelism

_CHUNK_ROWS = 8192
_TASKS = 16  # each sends d x d sums to the driver: 1 MB at 384-d, 7 MB at 968-d
_SCHEMA = "share int, rows bigint, sums array<double>, products array<double>"
_ARROW = pa.schema(
    [
        ("share", pa.int32()),
        ("rows", pa.int64()),
        ("sums", pa.list_(pa.float64())),
        ("products", pa.list_(pa.float64())),
    ]
)
Doubles = npt.NDArray[np.float64]


def whitened(
    spark: SparkSession, items: VectorFiles, queries: VectorFiles, *, power: float
) -> tuple[VectorFiles, VectorFiles]:
    """Both sides of a search, projected as they are read by what the items' vectors have in common.

    Args:
        spark: the session.
        items: whose covariance decides.
        queries: the other side.
        power: 0 (as they are) to 1 (every direction of the items varies as much as any other).

    Returns:
        items, queries. As they were where `power` is 0, or where there is no vector.
    """
    units = items.units()
    dimension = items.dimension(units)
    if power == 0.0 or dimension is None:
        return items, queries
    count, covariance = moments(spark, items, units, dimension)
    if count == 0:
        return items, queries
    projection = Projection(whitening(covariance, count, power))
    return replace(items, projection=projection), replace(queries, projection=projection)


def whitening(covariance: Doubles, count: int, power: float) -> Doubles:
    """(d, d) matrix C ** (-power / 2), by which rows are multiplied.

    Args:
        covariance: (d, d).
        count: vectors that it was taken from. Of few, its small variances are too small by chance: it is
            drawn towards their mean by d / (count + d).
        power: 0 to 1.

    Returns:
        Symmetric and positive definite: no vector loses its direction. The identity where nothing varies.
    """
    size = len(covariance)
    level = float(np.trace(covariance)) / size
    if not level > 0.0:
        return np.eye(size)
    share = size / (count + size)
    drawn = (1.0 - share) * covariance + share * level * np.eye(size)
    variances, directions = np.linalg.eigh(drawn / level)
    # Equal vectors but for rounding vary by less than nothing in some direction.
    scales: Doubles = np.maximum(variances, share) ** (-power / 2.0)
    return (directions * scales) @ directions.T


def moments(spark: SparkSession, side: VectorFiles, units: list[Unit], dimension: int) -> tuple[int, Doubles]:
    """Number and covariance (d, d) of the side's vectors at unit length; one pass, summed in double
    precision."""
    shares = split_units(units, min(_TASKS, parallelism(spark)))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                rows, sums, products = _sums(side, shares[number], dimension)
                row = {"share": number, "rows": rows, "sums": sums, "products": products.ravel()}
                yield pa.RecordBatch.from_pylist([row], schema=_ARROW)

    found = spark.range(0, len(shares), 1, len(shares)).mapInArrow(run, _SCHEMA).toArrow().sort_by("share")
    count = sum(found["rows"].to_pylist())
    sums, products = np.zeros(dimension), np.zeros((dimension, dimension))
    for place in range(len(found)):  # in order: sums of floats depend on it
        sums += found["sums"][place].values.to_numpy()
        products += found["products"][place].values.to_numpy().reshape(dimension, dimension)
    mean = sums / max(1, count)
    return count, products / max(1, count) - np.outer(mean, mean)


def _sums(side: VectorFiles, units: tuple[Unit, ...], dimension: int) -> tuple[int, Doubles, Doubles]:
    """How many vectors, their sum and the sum of their products."""
    count, sums, products = 0, np.zeros(dimension), np.zeros((dimension, dimension))
    for part in chunks(side, units, dimension=dimension, rows=_CHUNK_ROWS, zero_is_wrong=True):
        vectors = unit_rows(part.vectors).astype(np.float64)
        count, sums, products = (
            count + len(vectors),
            sums + vectors.sum(axis=0),
            products + vectors.T @ vectors,
        )
    return count, sums, products
