"""Maximum inner product as nearest neighbour: one more dimension makes Euclidean distance rank as the inner
product does.

Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for inner-product
spaces", RecSys 2014. With M the largest length of an item vector, an item x becomes (x, sqrt(M^2 - |x|^2))
and a query q becomes (q, 0). Then |q' - x'|^2 = |q|^2 + M^2 - 2 q.x, in which only q.x depends on the item.
All items come to lie on one sphere, so that cosine ranks them as well: what an index made for either can use.
"""

import math

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed
from newslake.lake.vector_columns import norm


def largest_norm(items: DataFrame, column: str) -> float:
    """M: the largest length among the item vectors; 0 where there is none.

    Raises:
        JobFailed: a vector is not finite.
    """
    found = items.agg(F.max(norm(F.col(column)))).head()
    largest = float(found[0]) if found is not None and found[0] is not None else 0.0
    if not math.isfinite(largest):
        raise JobFailed(f"{column}: a vector is not finite, so there is no largest length")
    return largest


def item_column(vector: Column, largest: float) -> Column:
    """An item's vector with the added dimension: array<float> of d + 1 entries.

    The square root is of at least 0: the longest item's own may come out a rounding below.
    """
    rest = F.sqrt(F.greatest(F.lit(0.0), F.lit(largest * largest) - F.pow(norm(vector), 2)))
    return F.concat(vector.cast("array<float>"), F.array(rest.cast("float")))


def query_column(vector: Column) -> Column:
    """A query's vector with a zero in the added dimension: array<float> of d + 1 entries."""
    return F.concat(vector.cast("array<float>"), F.array(F.lit(0.0).cast("float")))
