"""Sessions of Spark Connect, which have no JVM and no SparkContext in this process: what takes their place,
and how a job says that it needs them."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from newslake.errors import UserError

_EVENLY = 1_000_000  # rows, so many that each of Spark's tasks has some


def is_connect(spark: SparkSession) -> bool:
    """Whether the session is one of Spark Connect: SPARK_REMOTE or spark.remote, Databricks serverless."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def parallelism(spark: SparkSession) -> int:
    """How many tasks the session runs at once, or is told to take for that (spark.default.parallelism)."""
    if not is_connect(spark):
        return spark.sparkContext.defaultParallelism
    # Nothing but a query tells it here; a range is split into that many partitions.
    parts = spark.range(_EVENLY).select(F.spark_partition_id().alias("part"))
    last = parts.agg(F.max("part")).head()
    assert last is not None
    return int(last[0]) + 1


def refuse_processes(spark: SparkSession, processes: int) -> None:
    """Refuse to train in several processes where Spark Connect is.

    Raises:
        UserError: it is such a session, and there are several.
    """
    if processes > 1:
        refuse_connect(spark, f"--processes {processes}", "Spark's own context")


def refuse_connect(spark: SparkSession, what: str, needs: str) -> None:
    """Refuse what a session of Spark Connect cannot do.

    Args:
        spark: the session.
        what: such as "a stream".
        needs: such as "each batch in the process that started it".

    Raises:
        UserError: it is such a session.
    """
    if is_connect(spark):
        raise UserError(
            f"{what} needs {needs}, which a session of Spark Connect or Databricks serverless does not have:"
            " run it by spark-submit on a cluster or this machine, without SPARK_REMOTE and spark.remote"
        )
