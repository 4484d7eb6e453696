"""Lines of files that have one key: which is used, which says the same again, which something else.

A line (or a row of a Parquet file) is known by its `IDENTITY`: split, file, block of the file, and place
within the block.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

IDENTITY = ("split", "path", "block", "row")
SPLITS = ("train", "dev", "test")
"""In the order in which they are read: the first of two lines with one key wins."""

USE, DUPLICATE, CONFLICT = "use", "duplicate", "conflict"


def reading_order() -> list[Column]:
    """The order of lines: train, dev, test, then file, then line. The first of two lines with one key
    wins."""
    return [
        F.array_position(F.array(*map(F.lit, SPLITS)), F.col("split")),
        F.col("path"),
        F.col("block"),
        F.col("row"),
    ]


def verdicts(contested: DataFrame) -> DataFrame:
    """Decide between lines that have one key, or whose key is in the tables already.

    What is in the tables comes first in reading order, then the lines of the input. The first of a key is
    used; one that says the same again is a duplicate, one that says something else is a conflict.

    Args:
        contested: the columns of IDENTITY, key, content (lines with one key and equal content say the same),
            stored (whether the key is in the tables), matches (whether the tables say the same).

    Returns:
        The same rows with outcome: use, duplicate or conflict.
    """
    window = Window.partitionBy("key").orderBy(F.col("matches").desc(), *reading_order())
    first = F.first("content").over(window)
    # What the tables do not hold, such as a reading time, lines can still differ in.
    says_the_same = (F.col("content") == first) & (~F.col("stored") | F.col("matches"))
    outcome = (
        F.when(~says_the_same, CONFLICT).when(F.row_number().over(window) == 1, USE).otherwise(DUPLICATE)
    )
    return contested.select("*", outcome.alias("outcome"))


def new_claims(parsed: DataFrame, key: Column, content: Column) -> DataFrame:
    """What `verdicts` takes, of every usable line, where the files decide among themselves and not with a
    table.

    Args:
        parsed: lines with IDENTITY and problem.
        key: what two lines must not both claim to be.
        content: a hash of all that a line says.
    """
    light = parsed.where(F.col("problem").isNull()).select(
        *IDENTITY, key.alias("key"), content.alias("content")
    )
    return light.select("*", F.lit(False).alias("stored"), F.lit(False).alias("matches"))
