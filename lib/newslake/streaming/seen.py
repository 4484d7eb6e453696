"""Which files a stream has read, by the log that Spark keeps of them in the stream's checkpoint."""

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.files.inputs import is_input, listed
from newslake.files.paths import exactly, place_of
from newslake.files.systems import exists

_TOLD = 10


def changed_files(spark: SparkSession, place: str, checkpoint: str) -> tuple[int, list[str]]:
    """Files whose time is another than it was when the stream took a file of that name: how many, and some of
    them.

    Args:
        spark: reads both.
        place: what the stream reads, from inputs.checked.
        checkpoint: the stream's.
    """
    log = f"{checkpoint}/sources/0"
    if not exists(spark, log):
        return 0, []
    found = changed(_taken(spark.read.text(exactly(log))), listed(spark, place).where(is_input()))
    some = [place_of(row["path"]) for row in found.orderBy("path").limit(_TOLD).collect()]
    return (found.count() if len(some) == _TOLD else len(some)), some


def changed(taken: DataFrame, files: DataFrame) -> DataFrame:
    """Paths (URIs) of files that were taken at another time than they have now.

    Args:
        taken: path, taken_at (bigint, milliseconds from 1970).
        files: files themselves, for their _metadata.
    """
    time = F.unix_millis(F.col("_metadata.file_modification_time")).alias("modified_at")
    now = files.select(_one_slash(F.col("_metadata.file_path")).alias("path"), time)
    return (
        now.join(taken, on="path", how="inner")
        .where(F.col("modified_at") != F.col("taken_at"))
        .select("path")
    )


def _taken(log: DataFrame) -> DataFrame:
    """The entries of Spark's log: a line of JSON for each file, several where it has been compacted; other
    lines are no entries."""
    entry = F.from_json("value", "path STRING, timestamp BIGINT").alias("entry")
    entries = log.where(F.col("value").startswith("{")).select(entry).select("entry.*")
    return entries.groupBy(_one_slash(F.col("path")).alias("path")).agg(F.max("timestamp").alias("taken_at"))


def _one_slash(uri: Column) -> Column:
    """The URI of a file of this machine in one form: Spark's log says file:///, its metadata file:/."""
    return F.regexp_replace(uri, "^file:/+", "file:/")
