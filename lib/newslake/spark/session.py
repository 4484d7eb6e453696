"""The Spark session: Delta on, UTC, and the settings of conf/spark/."""

import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from importlib.util import find_spec
from urllib.parse import urlsplit

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from newslake.errors import UserError
from newslake.spark.connect import is_connect

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

_PORT, _WAIT_S = 15002, 20  # Spark Connect's own port; seconds
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # by which gRPC goes
_CONNECT_NEEDS = ("grpc", "grpc_status")


def spark_session(
    app_name: str, master: str | None = None, extra: Mapping[str, str] | None = None
) -> SparkSession:
    """The running session, or a new one with Delta on; one of Spark Connect where SPARK_REMOTE or
    spark.remote names a server, or `local`, for one in this process.

    Args:
        app_name: shown in Spark's UI.
        master: such as `local[2]`; by default what spark-submit or spark-defaults.conf says.
        extra: further settings, over those of spark-submit.

    Raises:
        UserError: Spark Connect is asked for, and its packages are not there or nobody answers.
    """
    os.environ.setdefault("TZ", "UTC")  # the Python workers' clock, for the rare timestamp that is made there
    builder = SparkSession.builder.appName(app_name)
    if master is not None:
        builder = builder.master(master)
    settings = {**_ALWAYS, **(extra or {})}
    for key, value in settings.items():
        builder = builder.config(key, value)
    remote = settings.get("spark.remote") or os.environ.get("SPARK_REMOTE")
    by_connect = master is None and (remote is not None or is_remote())
    session = _opened_remote(builder, remote or "this process") if by_connect else builder.getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    if is_connect(session):
        return session
    context = session.sparkContext
    if (context.master or "").startswith("local") and "PYSPARK_PYTHON" not in os.environ:
        # Python workers on this machine have the driver's packages, whatever `python3` on the PATH may be.
        context.pythonExec = sys.executable
    return session


def _opened_remote(builder: SparkSession.Builder, remote: str) -> SparkSession:
    if missing := [name for name in _CONNECT_NEEDS if find_spec(name) is None]:
        raise UserError(
            f"a session of Spark Connect ({remote}) needs {', '.join(missing)}: install newslake[connect], or"
            " unset SPARK_REMOTE and spark.remote"
        )
    if remote.startswith("sc://"):
        _look_for(remote)
    if remote.startswith("local"):  # the workers of a server in this process have its packages
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with warnings.catch_warnings():
        # A server has its own Delta and keeps what is fixed when it starts; one in this process has got it.
        warnings.filterwarnings("ignore", message="Failed to set ", category=UserWarning)
        try:
            session = builder.getOrCreate()
            session.version  # noqa: B018  a session is opened by the first call, which finds out
        except PySparkException as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"no session of Spark Connect at {remote}: {said}") from None
    return session


def _look_for(remote: str) -> None:
    """See whether anybody listens there: PySpark's own client tries for ten minutes before it says so."""
    place = urlsplit(remote)
    if place.hostname is None or any(os.environ.get(name) for name in _PROXIES):
        return
    try:
        socket.create_connection((place.hostname, place.port or _PORT), timeout=_WAIT_S).close()
    except OSError as error:
        raise UserError(
            f"no server of Spark Connect at {remote} ({error.strerror or error}): start it, or name another"
            " (SPARK_REMOTE, spark.remote)"
        ) from None


def quiet(spark: SparkSession) -> None:
    """Let Spark's log tell errors only, where it is this process's."""
    if not is_connect(spark):
        spark.sparkContext.setLogLevel("ERROR")


@contextmanager
def session_settings(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Work under settings of the session that only make it faster: where they may not be set, as on
    Databricks serverless, without them."""
    done = []
    try:
        for name, value in settings.items():
            with suppress(PySparkException):
                spark.conf.set(name, value)
                done.append(name)
        yield
    finally:
        for name in done:
            spark.conf.unset(name)


def spark_settings(name: str) -> dict[str, str]:
    """The settings of conf/spark/<name>.conf, one `key value` a line, `#` for comments."""
    text = (resources.files("newslake.conf") / "spark" / f"{name}.conf").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
