"""Vector columns: unit length, weighted means, joined parts and their weights; sizes come from the data,
never from a constant."""

import math
from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed

TOPIC_SHARE = 0.1
"""Share of the topic part in the squared length of a joined vector: the cosine of two joined vectors is then
(1 - TOPIC_SHARE) times the cosine of their embeddings plus TOPIC_SHARE times that of their topic vectors.
Sohu News joins the parts and says no more. On generated reading a tenth placed a user's next clicks best:
without topics, and with a quarter or more, they stood further back (a user's two topics leave out what else
the user likes; see benchmarks/user_vectors.py)."""


def norm(vector: Column) -> Column:
    """Euclidean length, in double precision; 0.0 for an empty vector, NULL where an entry is NULL."""
    return F.sqrt(
        F.aggregate(vector, F.lit(0.0), lambda total, x: total + x.cast("double") * x.cast("double"))
    )


def unit(vector: Column) -> Column:
    """The vector at length 1, as array<float>; NULL where its length is 0, not finite, or where it holds a
    NULL."""
    return _at_length(vector, 1.0).cast("array<float>")


def scaled(vector: Column, factor: Column | float) -> Column:
    """Each entry times the factor, as array<double>."""
    by = F.lit(factor) if isinstance(factor, int | float) else factor
    return F.transform(vector, lambda x: x.cast("double") * by)


def weighted_mean(vectors: Column, weights: Column) -> Column:
    """The mean of several vectors, each with its weight: sum of w v over sum of w.

    Args:
        vectors: array of arrays of numbers, all of one size.
        weights: array of numbers, one for each vector, none negative.

    Returns:
        array<double>; NULL where there is no vector, where the weights sum to 0, where sizes differ or an
            entry is NULL.
    """
    width = F.size(F.get(vectors, F.lit(0)))
    # Spark takes the sum for an array without NULLs whatever goes into it, so what goes in is looked at
    # first.
    whole = F.forall(vectors, lambda v: (F.size(v) == width) & ~F.exists(v, lambda x: x.isNull())) & (
        F.size(vectors) == F.size(weights)
    )
    total = F.aggregate(
        F.arrays_zip(vectors.alias("vector"), weights.alias("weight")),
        F.transform(F.get(vectors, F.lit(0)), lambda _: F.lit(0.0)),
        lambda summed, pair: F.zip_with(
            summed, pair["vector"], lambda a, x: a + x.cast("double") * pair["weight"].cast("double")
        ),
    )
    weight = F.aggregate(weights, F.lit(0.0), lambda a, w: a + w.cast("double"))
    return F.when(whole, _let(weight, lambda by: F.when(by > 0.0, F.transform(total, lambda x: x / by))))


def joined(embedding: Column, topics: Column, topic_share: float = TOPIC_SHARE) -> Column:
    """Two parts as one vector of unit length: each at unit length, scaled by the roots of 1 - topic_share and
    topic_share.

    Args:
        embedding: array of numbers, d entries.
        topics: array of numbers, t entries; NULL or of no length where nothing is known: how many zeros
            to put there is not known either, so the result is NULL, and the caller says what stands in
            (see `joined_with_nothing`).
        topic_share: between 0 and 1, the topic part's share of the squared length.

    Returns:
        array<float> of d + t entries; NULL where either part has no direction.

    Raises:
        ValueError: topic_share lies outside 0 to 1.
    """
    if not 0.0 <= topic_share <= 1.0:
        raise ValueError(f"topic_share must lie between 0 and 1, not {topic_share}")
    parts = _at_length(embedding, math.sqrt(1.0 - topic_share)), _at_length(topics, math.sqrt(topic_share))
    return F.concat(*parts).cast("array<float>")


def joined_with_nothing(embedding: Column, topic_size: Column | int) -> Column:
    """What stands in where no topic is known: the embedding at unit length, then `topic_size` zeros.

    The cosine to a joined vector is then the root of 1 - topic_share times that of the embeddings: the text
    alone decides.

    Returns:
        array<float>; NULL where the embedding has no direction.
    """
    size = F.lit(topic_size) if isinstance(topic_size, int) else topic_size
    return F.concat(unit(embedding), F.array_repeat(F.lit(0.0).cast("float"), size))


def vector_size(rows: DataFrame, column: str, what: str) -> int | None:
    """The one size that all vectors of the column have; None where there is no row.

    Raises:
        JobFailed: vectors of several sizes are mixed.
    """
    found = rows.agg(F.min(F.size(column)), F.max(F.size(column))).head()
    assert found is not None
    if found[0] != found[1]:
        raise JobFailed(f"{what}: vectors of {found[0]} and of {found[1]} entries are mixed")
    return None if found[0] is None else int(found[0])


def _at_length(vector: Column, length: float) -> Column:
    """The vector scaled to a length, as array<double>; NULL where it has no direction."""

    def divided(by: Column) -> Column:
        usable = by.isNotNull() & (by > 0.0) & (by < F.lit(math.inf)) & ~F.isnan(by)
        return F.when(usable, F.transform(vector, lambda x: x.cast("double") / by * length))

    return _let(norm(vector), divided)


def _let(value: Column, use: Callable[[Column], Column]) -> Column:
    """`use(value)` with the value computed once: inside a lambda Spark would compute it again for every
    entry."""
    return F.get(F.transform(F.array(value), use), F.lit(0))
