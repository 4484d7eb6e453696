"""Rows of EB-NeRD's Parquet files, with the columns that make them known and those that the kind of file
has."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.inputs import looking
from newslake.files.paths import exactly
from newslake.intake.behaviors import in_time
from newslake.intake.sources.ebnerd.columns import NO_ID, Field, made_of, wrong_columns
from newslake.intake.sources.ebnerd.tables import Source
from newslake.intake.verdicts import SPLITS
from newslake.lake.sqltext import quoted

_ARTICLES = SPLITS[0]  # articles belong to no split


def read_files(
    spark: SparkSession, sources: Sequence[Source], fields: Sequence[Field]
) -> dict[str, DataFrame]:
    """The rows of files of one kind, by split (of articles: all under the first).

    Returns:
        split -> verdicts.IDENTITY (block is 0, row the row's place in the file), arrived_at (modification
            time of the file), value (the
        whole row as JSON), lacks (columns that its file has not), and a column for each field.

    Raises:
        UserError: a file cannot be read, or its columns are not what they should be; says all that is wrong
            with the first such file.
    """
    found: dict[str, list[DataFrame]] = {}
    for source in sources:
        found.setdefault(source.split or _ARTICLES, []).append(_read(spark, source, fields))
    return {split: reduce(DataFrame.unionByName, found[split]) for split in SPLITS if split in found}


def as_rejected(rows: DataFrame, key: str) -> DataFrame:
    """Rejected rows as quarantine.rejected takes them; line_number counts the rows of the file from 1.

    Args:
        rows: of read_files, with reason.
        key: the column that names the record.
    """
    return rows.select(
        F.col("path").alias("source"),
        (F.col("row") + 1).alias("line_number"),
        F.when(F.col(key) != NO_ID, F.col(key)).alias("record_id"),
        F.col("value").cast("binary").alias("raw"),
        "reason",
        F.col("arrived_at").alias("ingested_at"),
    )


def _read(spark: SparkSession, source: Source, fields: Sequence[Field]) -> DataFrame:
    with looking(source.option, source.path):
        rows = spark.read.parquet(exactly(source.path))
    if wrong := wrong_columns(rows.schema, fields, source.split):
        raise UserError(
            f"{source.option} {source.path}: not {source.kind}.parquet of EB-NeRD: {'; '.join(wrong)}"
        )
    lacks = [field.name for field in fields if field.name not in rows.columns]
    return rows.select(
        F.lit(source.split or _ARTICLES).alias("split"),
        F.col("_metadata.file_path").alias("path"),
        F.lit(0).cast("bigint").alias("block"),
        F.col("_metadata.row_index").alias("row"),
        F.col("_metadata.file_modification_time").alias("arrived_at"),
        F.to_json(F.struct(*(F.col(quoted(name)) for name in rows.columns))).alias("value"),
        F.array(*map(F.lit, lacks)).cast("array<string>").alias("lacks"),
        *(made_of(rows, field) for field in fields),
    )


def no_id(made: Column, name: str, *, required: bool = True) -> Column:
    """Why an id cannot be used, or NULL."""
    missing = F.when(made.isNull(), f"no {name}") if required else F.lit(None).cast("string")
    return F.coalesce(missing, F.when(made == NO_ID, f"{name} is no whole number"))


def lacks_id(ids: Column) -> Column:
    """Whether a list holds something that is no id."""
    return F.exists(ids, lambda one: one.isNull() | (one == NO_ID))


def not_in_time(made: Column, name: str, *, required: bool = True) -> Column:
    """Why a time cannot be used, or NULL."""
    missing = F.when(made.isNull(), f"no {name}") if required else F.lit(None).cast("string")
    return F.coalesce(
        missing, F.when(made.isNotNull() & ~in_time(made), f"{name} is no time between 1900 and 2261")
    )


def bad_measure(seconds: Column, share: Column, names: tuple[str, str]) -> Column:
    """Why a reading time and how far a user scrolled cannot be, or NULL; either may be unknown."""
    return F.when(seconds < 0, f"{names[0]} is negative").when(
        ~share.between(0, 100), f"{names[1]} is not between 0 and 100"
    )
