"""Weights that decay, summed exactly: in whole billionths, so that no order of events changes a sum."""

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

UNIT = 1_000_000_000
"""A weight of 1 in the whole numbers in which weights are added up. Their sums are exact up to 9 billion."""
_SECONDS_A_DAY = 86_400.0


def units(weight: Column) -> Column:
    """A weight in whole billionths, bigint."""
    return F.round(weight * F.lit(float(UNIT))).cast("bigint")


def weight_of(whole: Column) -> Column:
    """The weight, double, of whole billionths."""
    return whole.cast("double") / F.lit(float(UNIT))


def decay(days: Column, half_life_days: float) -> Column:
    """What is left of a weight after so many days; the future counts as now."""
    return F.pow(F.lit(0.5), F.greatest(days, F.lit(0.0)) / F.lit(half_life_days))


def age_in_days(occurred_at: Column, as_of: date) -> Column:
    """Days from an event to the start of a day, UTC."""
    end = F.lit(as_of).cast("timestamp")
    return (F.unix_micros(end) - F.unix_micros(occurred_at)).cast("double") / F.lit(_SECONDS_A_DAY * 1e6)


def decayed(rows: DataFrame, as_of: date, half_life_days: float) -> DataFrame:
    """Rows of an earlier day as of a later one: `weight`, and `history_weight` where there is one, become
    `whole` and `history`, in billionths; as_of goes."""
    left = decay(F.datediff(F.lit(as_of), "as_of").cast("double"), half_life_days)
    for weight, whole in (("weight", "whole"), ("history_weight", "history")):
        if weight in rows.columns:
            rows = rows.withColumn(whole, units(F.coalesce(weight, F.lit(0.0)) * left)).drop(weight)
    return rows.drop("as_of")


def heaviest(rows: DataFrame, within: str, order: str, most: int) -> DataFrame:
    """The rows of the highest `whole` for each value of `within`, ties by `order`; adds their place, from 1,
    as `place`."""
    ranked = Window.partitionBy(within).orderBy(F.desc("whole"), order)
    return rows.withColumn("place", F.row_number().over(ranked)).where(F.col("place") <= most)
