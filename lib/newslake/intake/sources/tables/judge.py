"""What becomes of every row that somebody brings: used, the same again, an older version, or rejected with
its reason.

Frame -> frame: nothing here reads or writes a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.intake.behaviors import in_time
from newslake.intake.sources.tables.targets import Target
from newslake.intake.verdicts import CONFLICT, DUPLICATE, USE
from newslake.lake.tablespec import TableSpec

OLDER = "older"
COMPANION = "another row of the same {} cannot be used"
DISAGREE = "rows of one {} differ in {}"


def with_problem(rows: DataFrame, target: Target, spec: TableSpec) -> DataFrame:
    """Add `problem`: why a row breaks the table's rules, or NULL.

    Args:
        rows: the columns that the mapping names, those with a default, and lost.
        target: the table.
        spec: its contract.
    """
    given = [one for one in spec.schema() if one.name in rows.columns]
    reasons = [
        F.when(F.col("lost").isNotNull(), F.concat(F.lit("values that the table cannot hold: "), "lost"))
    ]
    reasons += [F.when(F.col(one.name).isNull(), f"no {one.name}") for one in given if not one.nullable]
    reasons += [F.when(F.col(one.name) == "", f"an empty {one.name}") for one in given if _is_id(one, spec)]
    for one in given:
        value = F.col(one.name)
        if isinstance(one.dataType, T.StringType):
            reasons.append(F.when(value.contains("\0"), f"a NUL character in {one.name}"))
        if isinstance(one.dataType, T.TimestampType):
            reasons.append(
                F.when(value.isNotNull() & ~in_time(value), f"{one.name} is not between 1900 and 2261")
            )
        if isinstance(one.dataType, T.DoubleType):
            reasons.append(F.when(F.isnan(value), f"{one.name} is NaN"))
        if isinstance(one.dataType, T.ArrayType) and isinstance(one.dataType.elementType, T.StringType):
            empty = F.exists(value, lambda id_: id_.isNull() | (id_ == "") | id_.contains("\0"))
            reasons.append(F.when(empty, f"an empty id in {one.name}"))
    computed = [name for name in spec.schema().names if name not in rows.columns]
    for rule in spec.rules:
        if not any(name in rule for name in computed):
            reasons.append(F.when(~F.coalesce(F.expr(rule), F.lit(False)), f"breaks the rule: {rule}"))
    return rows.withColumn("problem", F.coalesce(*reasons))


@dataclass(frozen=True)
class Judged:
    """Frames of the rows: `used`, each key once; `rejected`, with reason; `set_aside`, those that are
    neither, with outcome."""

    used: DataFrame
    rejected: DataFrame
    set_aside: DataFrame


def judge(
    parsed: DataFrame, target: Target, spec: TableSpec, repeated: DataFrame | None, broken: DataFrame | None
) -> Judged:
    """Decide on every row.

    Args:
        parsed: of with_problem.
        target: the table.
        spec: its contract.
        repeated: of repeated_keys; None where no key comes twice.
        broken: of broken_things; None where nothing is broken.
    """
    good = parsed.where(F.col("problem").isNull())
    rejected = parsed.where(F.col("problem").isNotNull()).withColumn("reason", F.col("problem"))
    set_aside = good.limit(0).withColumn("outcome", F.lit(DUPLICATE))
    if repeated is not None:
        contested = outcomes(good.join(repeated, on=list(spec.key), how="left_semi"), target, spec.key)
        again = F.lit(f"{', '.join(spec.key)} repeated with different content")
        rejected = rejected.unionByName(
            contested.where(F.col("outcome") == CONFLICT).withColumn("reason", again).drop("outcome")
        )
        set_aside = contested.where(F.col("outcome").isin(DUPLICATE, OLDER))
        alone = good.join(repeated, on=list(spec.key), how="left_anti")
        good = alone.unionByName(contested.where(F.col("outcome") == USE).drop("outcome"))
    if broken is not None:
        on = list(target.together)
        companions = good.join(broken, on=on, how="inner").withColumn("reason", F.col("why")).drop("why")
        rejected = rejected.unionByName(companions.select(rejected.columns))
        good = good.join(broken, on=on, how="left_anti")
    return Judged(good, rejected, set_aside)


def repeated_keys(parsed: DataFrame, key: Sequence[str]) -> DataFrame:
    """The keys that more than one usable row has."""
    counted = parsed.where(F.col("problem").isNull()).groupBy(*key).agg(F.count("*").alias("times"))
    return counted.where(F.col("times") > 1).select(*key)


def broken_things(
    parsed: DataFrame, target: Target, spec: TableSpec, repeated: DataFrame | None
) -> DataFrame:
    """Things, such as impressions, of which some row cannot be used or the rows do not agree: the columns of
    `together`, and why."""
    together = list(target.together)
    known = reduce(Column.__and__, (F.col(name).isNotNull() for name in together))
    rows = parsed.where(known).select(*together, *target.agree, F.col("problem").isNotNull().alias("bad"))
    if repeated is not None:
        good = parsed.where(F.col("problem").isNull()).join(repeated, on=list(spec.key), how="left_semi")
        conflicts = outcomes(good, target, spec.key).where(F.col("outcome") == CONFLICT)
        rows = rows.unionByName(conflicts.select(*together, *target.agree, F.lit(True).alias("bad")))
    said = F.to_json(F.struct(*target.agree))
    differ = F.min(F.when(~F.col("bad"), said)) != F.max(F.when(~F.col("bad"), said))
    found = rows.groupBy(*together).agg(
        F.bool_or("bad").alias("bad"), F.coalesce(differ, F.lit(False)).alias("differ")
    )
    name = together[-1]
    why = F.when(F.col("bad"), COMPANION.format(name)).when(
        F.col("differ"), DISAGREE.format(name, " or ".join(target.agree))
    )
    return found.select(*together, why.alias("why")).where(F.col("why").isNotNull())


def outcomes(contested: DataFrame, target: Target, key: Sequence[str]) -> DataFrame:
    """Decide between usable rows of one key. Rows of a table come in no order, so that of two that differ
    none is the first.

    Returns:
        The rows with outcome: use, duplicate, older (the table has a column that tells), or conflict.
    """
    names = [name for name in target.named() if name in contested.columns]
    rows = contested.withColumn("__said", F.xxhash64(F.to_json(F.struct(*names))))
    of_key = Window.partitionBy(*key)
    newest = F.lit(True)
    if target.latest is not None and target.latest in contested.columns:
        newest = F.col(target.latest).eqNullSafe(F.max(target.latest).over(of_key))
    rows = rows.withColumn("__newest", newest)
    differ = F.size(F.collect_set(F.when(F.col("__newest"), F.col("__said"))).over(of_key)) > 1
    place = F.row_number().over(of_key.orderBy(F.col("__newest").desc(), "__said"))
    outcome = (
        F.when(~F.col("__newest"), OLDER).when(differ, CONFLICT).when(place == 1, USE).otherwise(DUPLICATE)
    )
    return rows.withColumn("outcome", outcome).drop("__said", "__newest")


def completed(
    used: DataFrame, stored: DataFrame | None, target: Target, spec: TableSpec, named: Sequence[str]
) -> DataFrame:
    """The rows as the table has them: what the mapping leaves out stays as it is in a row that is there, else
    it takes its default.

    Of a row whose version there is later, nothing is taken.

    Args:
        used: rows of `judge`.
        stored: the table's; None where it has none.
        target: the table.
        spec: its contract.
        named: the columns that the mapping names.
    """
    names = list(target.named())
    rows = used
    if stored is not None:
        others = [name for name in names if name not in spec.key]
        old = stored.select(*spec.key, F.struct(*others).alias("__old"))
        rows = used.join(old, on=list(spec.key), how="left")
        if target.latest is not None and target.latest in named:
            rows = rows.where(
                F.coalesce(
                    F.col(f"__old.{target.latest}") <= F.col(target.latest),
                    F.col(f"__old.{target.latest}").isNull(),
                )
            )
    kinds = {one.name: one.dataType for one in spec.schema()}

    def column(name: str) -> Column:
        value = F.col(name) if name in used.columns else F.lit(None).cast(kinds[name])
        if name in named or name in spec.key or stored is None:
            return value.alias(name)
        return F.coalesce(F.col(f"__old.{name}"), value).alias(name)

    return rows.select(*map(column, names))


def _is_id(one: T.StructField, spec: TableSpec) -> bool:
    return isinstance(one.dataType, T.StringType) and (one.name in spec.key or one.name.endswith("_id"))
