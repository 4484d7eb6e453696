"""The Spark session: Delta on, UTC, and the settings of conf/spark/."""

import os
import sys
from collections.abc import Mapping
from importlib import resources

from pyspark.sql import SparkSession

# What every session needs wherever it runs; everything else is a matter of the machine and lives in
# conf/spark/*.conf.
_ALWAYS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # 8-byte timestamps: the old 12-byte ones, still the default, are slow to write and odd to every other
    # reader.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A task may keep this many partitions' files open; by default it sorts all its rows by partition first,
    # even where all go to one.
    "spark.sql.maxConcurrentOutputFileWriters": "8",
    # MERGE reads its source twice: once evaluated and kept, a model is not run over the same text again, and
    # a source that is not quite deterministic cannot differ between the two.
    "spark.databricks.delta.merge.materializeSource": "all",
    # What goes to a Python worker at once is bounded in rows by default, and long articles are not.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 2**20),
    # Checkpoints of a cluster's frames go once nothing refers to them: a stream makes some with every batch.
    "spark.cleaner.referenceTracking.cleanCheckpoints": "true",
    # Python tells the JVM the line of every column function, four calls over a socket for one; a message that
    # quotes it helps who writes a job, not who runs it.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}


def spark_session(
    app_name: str, master: str | None = None, extra: Mapping[str, str] | None = None
) -> SparkSession:
    """The running session, or a new one with Delta on.

    Args:
        app_name: shown in Spark's UI.
        master: such as `local[2]`; by default what spark-submit or spark-defaults.conf says.
        extra: further settings, over those of spark-submit.
    """
    os.environ.setdefault("TZ", "UTC")  # the Python workers' clock, for the rare timestamp that is made there
    builder = SparkSession.builder.appName(app_name)
    if master is not None:
        builder = builder.master(master)
    for key, value in {**_ALWAYS, **(extra or {})}.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    context = session.sparkContext
    if (context.master or "").startswith("local") and "PYSPARK_PYTHON" not in os.environ:
        # Python workers on this machine have the driver's packages, whatever `python3` on the PATH may be.
        context.pythonExec = sys.executable
    return session


def spark_settings(name: str) -> dict[str, str]:
    """The settings of conf/spark/<name>.conf, one `key value` a line, `#` for comments."""
    text = (resources.files("newslake.conf") / "spark" / f"{name}.conf").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
