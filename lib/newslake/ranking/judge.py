"""Judges rankers on the same candidates: metrics of every query, and the paired bootstrap of their means."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.ranking.features import FEATURES, Floats
from newslake.ranking.feed import formula
from newslake.ranking.options import FormulaOptions
from newslake.switches.promotions import Comparison, compared
from newslake.training.judging.spark_evaluate import METRICS, bootstrap_sums, metrics_of

FORMULA = "formula"
METRIC = "ndcg_at_10"
Matrix = npt.NDArray[np.float32]
Scorers = Mapping[str, Callable[[], Callable[[Matrix], Floats]]]


def scored(rows: DataFrame, scorers: Scorers, settings: FormulaOptions) -> DataFrame:
    """Candidates with a column of scores (double) for each scorer, by its name, and one by the formula.

    Args:
        rows: FEATURES and others.
        scorers: see `Ranker.scorer`.
        settings: of the formula; a likeness that is unknown counts 0, as for users without vectors.
    """
    others = [field for field in rows.schema.fields if field.name not in FEATURES]
    fields = [*others, *(T.StructField(name, T.DoubleType()) for name in scorers)]

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded = [scorer() for scorer in scorers.values()]
        for batch in batches:
            matrix = np.stack(
                [batch.column(name).to_numpy(zero_copy_only=False) for name in FEATURES], axis=1
            )
            found = [pa.array(score(matrix).astype(np.float64)) for score in loaded]
            kept = [batch.column(field.name) for field in [*others, T.StructField(FORMULA, T.DoubleType())]]
            yield pa.RecordBatch.from_arrays(
                [*kept, *found], names=[*(field.name for field in others), FORMULA, *scorers]
            )

    with_formula = rows.withColumn(FORMULA, by_formula(settings))
    return with_formula.mapInArrow(
        add, T.StructType([*others, T.StructField(FORMULA, T.DoubleType()), *fields[len(others) :]])
    )


def by_formula(settings: FormulaOptions) -> Column:
    """The formula's score out of the features."""
    likeness = F.nanvl(F.col("likeness"), F.lit(0.0))
    return formula(
        settings, F.col("ctr").cast("double"), F.col("age_hours").cast("double"), likeness.cast("double")
    )


def sums_of(
    rows: DataFrame, names: Iterable[str], *, resamples: int, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    """By name of a score: (resamples + 1, 2), the weight and the weighted sum of METRIC in each resample of
    the queries.

    Args:
        rows: query, label, and the scores; queries without both a click and another candidate say nothing.
        names: of the scores.
        resamples, seed: of the bootstrap; row 0 is all queries, once each.
    """
    scores = F.explode(
        F.array(*(F.struct(F.lit(name).alias("model"), F.col(name).alias("score")) for name in names))
    ).alias("one")
    each = rows.select("query", "news_id", "label", scores).select("query", "news_id", "label", "one.*")
    candidates = F.sort_array(F.collect_list(F.struct("news_id", "score", "label")))
    lists = each.groupBy("model", "query").agg(candidates.alias("candidates"))
    lists = lists.select(
        "model",
        F.xxhash64("query").alias("impression_key"),
        F.col("candidates.score").alias("scores"),
        F.col("candidates.label").alias("labels"),
    )
    found: dict[str, npt.NDArray[np.float64]] = {}
    place = METRICS.index(METRIC)
    for row in bootstrap_sums(metrics_of(lists), resamples=resamples, seed=seed).collect():
        sums = found.setdefault(row["model"], np.zeros((resamples + 1, 2)))
        sums[row["resample"]] = row["weight"], row[METRICS[place]]
    return found


def comparison(sums: Mapping[str, npt.NDArray[np.float64]], name: str, other: str) -> Comparison:
    """A score against another one on the same queries."""
    return compared(METRIC, sums[name], sums[other], int(sums[name][0, 0]))
