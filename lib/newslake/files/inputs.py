"""Files that people and delivery services put somewhere: which of them are input, and what to say where one
cannot be."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError
from newslake.files.paths import exactly, place_of
from newslake.files.systems import is_file, readable

COMPRESSED = ("gz", "bz2", "deflate", "zst", "lz4", "snappy")
"""Endings of the names that Spark unpacks as it reads."""
# Spark would read them as text.
_ARCHIVE = r"(?i)\.(zip|7z|rar|tar|tgz|tbz2?|txz|xz|lzma|z|br|tar\.[a-z0-9]+)$"
# What editors, copies and uploads under way leave beside a file.
_BESIDE = r"(?i)(~|\.(bak|backup|orig|old|tmp|temp|part|partial|filepart|crdownload|swp))$"
# Folders in folders, as delivery services write them (year/month/day).
_READ = {"recursiveFileLookup": "true"}


def is_archive(name: str) -> bool:
    """Whether a file of that name holds files in a way that Spark does not unpack."""
    return re.search(_ARCHIVE, name) is not None


def checked(spark: SparkSession, path: str, option: str) -> str:
    """What Spark is to read for a path that a user names: a file, a folder or a pattern.

    Raises:
        UserError: there is nothing, it cannot be read, or an archive is among the files.
    """
    place = readable(spark, path)
    with looking(option, path):
        archive = (
            listed(spark, place)
            .where(F.col("_metadata.file_name").rlike(_ARCHIVE))
            .select("_metadata.file_path")
            .head()
        )
    if archive is not None:
        raise UserError(unpack_it(option, path, place_of(archive[0])))
    return place


@contextmanager
def looking(option: str, path: str) -> Iterator[None]:
    """Look at what a user's path names.

    Raises:
        UserError: there is nothing, or it cannot be read, in place of what Spark says then.
    """
    try:
        yield
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            raise UserError(f"{option} {path}: there is no such file or folder") from None
        raise UserError(f"{option} {path}: cannot be read: {reason(error)}") from None
    # Py4J's own, which has no narrower type: an unknown file system, no permission.
    except Exception as error:
        raise UserError(f"{option} {path}: cannot be read: {reason(error)}") from None


def unpack_it(option: str, path: str, archive: str) -> str:
    """What to tell of an archive."""
    of = ", ".join(f".{ending}" for ending in COMPRESSED)
    return (
        f"{option} {path}: {archive} is an archive, which is not read: unpack it (single files may be"
        f" compressed: {of})"
    )


def listed(spark: SparkSession, place: str) -> DataFrame:
    """The files themselves, a row each, for their _metadata: their contents are not read."""
    return spark.read.format("binaryFile").options(**_READ).load(place)


def text_lines(spark: SparkSession, place: str, *, stream: bool = False, **options: str) -> DataFrame:
    r"""The lines, which end at \n, of what `checked` gave, folders in folders too: value and _metadata.

    Backups and uploads under way (behaviors.tsv.bak, a.jsonl.tmp, a.jsonl~) are left alone, unless `place` is
    one.
    """
    reader: Any = spark.readStream if stream else spark.read
    text: DataFrame = reader.options(**_READ, **options).text(place, lineSep="\n")
    return text if _is_file(spark, place) else text.where(is_input())


def is_input() -> Column:
    """Whether a row comes from a file that is no backup and no upload under way."""
    return ~F.col("_metadata.file_name").rlike(_BESIDE)


def is_blank(line: Column) -> Column:
    """Whether a line holds nothing but white space, such as the CR of an empty line that went through
    Windows."""
    return line.rlike(r"^\s*$")


def cleaned(line: Column) -> Column:
    """A line without the CR of a file that went through Windows, and without the byte order mark at its
    start."""
    whole = F.when(line.endswith("\r"), F.left(line, F.length(line) - 1)).otherwise(line)
    return F.when(line.startswith("\ufeff"), F.substring(whole, 2, 2**31 - 1)).otherwise(whole)


def reason(error: Exception) -> str:
    """The line of a Java error that says what is wrong; Py4J's own first line only says that something was
    called."""
    lines = [line.strip(": ") for line in str(error).splitlines() if line.strip()]
    return next(
        (line for line in lines if not line.startswith("An error occurred while calling")),
        type(error).__name__,
    )[:300]


def _is_file(spark: SparkSession, place: str) -> bool:
    plain = re.sub(r"\\(.)", r"\1", place)
    return exactly(plain) == place and is_file(spark, plain)  # else it is a pattern
