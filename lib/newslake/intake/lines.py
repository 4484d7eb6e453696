r"""Text files as lines: where each comes from, and which cannot be used.

Lines end at \n only. A line's number is worked out only for the few lines that are rejected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from newslake.files.inputs import cleaned
from newslake.intake.verdicts import SPLITS
from newslake.spark.frames import once

# Monotonically_increasing_id: the row's place within its task in the low 33 bits, the task above.
_ROW_BITS = 33


@dataclass(frozen=True)
class Source:
    """One path of one split that holds lines of one kind.

    `path` is as Spark reads it, `pattern` says which of the folder's files count (None: all that the path
    names), `files` (URIs) which they are.
    """

    kind: str
    split: str
    path: str
    pattern: str | None
    files: tuple[str, ...]


def read_lines(spark: SparkSession, sources: Sequence[Source]) -> dict[str, DataFrame]:
    """The lines of some sources, by split.

    Returns:
        split -> split, path (URI), block (offset at which the block of the file starts, in bytes), row (place
            within the task
        that reads the block: grows with the line), arrived_at (modification time of the file), value (the
            line; bytes that
        are not UTF-8 are kept as they are).
    """
    return {
        split: reduce(
            DataFrame.unionByName,
            [_text(spark, split, pattern, list(group)) for pattern, group in _by_pattern(of_split)],
        )
        for split in SPLITS
        if (of_split := [source for source in sources if source.split == split])
    }


def _by_pattern(sources: Sequence[Source]) -> Iterable[tuple[str | None, Iterable[Source]]]:
    def pattern(source: Source) -> str:
        return source.pattern or ""

    return ((key or None, group) for key, group in groupby(sorted(sources, key=pattern), key=pattern))


def _text(spark: SparkSession, split: str, pattern: str | None, sources: Sequence[Source]) -> DataFrame:
    options = {} if pattern is None else {"pathGlobFilter": pattern}
    text = spark.read.text([source.path for source in sources], lineSep="\n", **options)  # type: ignore[arg-type]
    return with_places(text, split)


def with_places(text: DataFrame, split: str) -> DataFrame:
    """Lines that Spark read from files, with their IDENTITY (see verdicts) and arrived_at, as `read_lines`
    gives them."""
    return text.select(
        F.lit(split).alias("split"),
        F.col("_metadata.file_path").alias("path"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().bitwiseAND(F.lit((1 << _ROW_BITS) - 1)).alias("row"),
        F.col("_metadata.file_modification_time").alias("arrived_at"),
        "value",
    )


def split_fields(lines: DataFrame) -> DataFrame:
    """Add `fields`, the line cut at its tabs; a CR before the line's end is no part of the last."""
    return once(lines, "fields", F.split(cleaned(F.col("value")), "\t"))


def line_problem(width: int) -> Column:
    """Why a line is not `width` fields of clean text, or NULL. Reads value and fields."""
    value, fields = F.col("value"), F.col("fields")
    return (
        F.when(~F.is_valid_utf8(value), "invalid UTF-8")
        .when(value.contains("\0"), "a NUL character")
        .when(
            F.size(fields) != width,
            F.concat(F.lit("wrong number of fields: "), F.size(fields), F.lit(f", not {width}")),
        )
    )


def numbered(lines: DataFrame, everything: DataFrame) -> DataFrame:
    """Add line_number, from 1, to some lines of the files.

    Args:
        lines: the lines that need a number; has the columns that identify a line (verdicts.IDENTITY).
        everything: all lines of the same files, as read_lines gave them.
    """
    block = ["split", "path", "block"]
    before = Window.partitionBy("split", "path").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
    blocks = everything.groupBy(*block).agg(F.min("row").alias("first_row"), F.count("*").alias("lines"))
    starts = blocks.select(
        *block, "first_row", F.coalesce(F.sum("lines").over(before), F.lit(0)).alias("lines_before")
    )
    number = F.col("row") - F.col("first_row") + F.col("lines_before") + 1
    return (
        lines.join(F.broadcast(starts), on=block, how="inner")
        .withColumn("line_number", number)
        .drop("first_row", "lines_before")
    )


def as_rejected(lines: DataFrame) -> DataFrame:
    """Rejected lines as quarantine.rejected takes them.

    Args:
        lines: path, line_number, arrived_at, value, fields, reason.
    """
    key = F.get("fields", F.lit(0))
    known = (F.size("fields") > 1) & F.is_valid_utf8(key) & ~key.contains("\0") & (key != "")
    return lines.select(
        F.col("path").alias("source"),
        "line_number",
        F.when(known, key).alias("record_id"),
        F.col("value").cast("binary").alias("raw"),
        "reason",
        F.col("arrived_at").alias("ingested_at"),
    )
