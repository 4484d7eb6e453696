"""One JVM for all workers of a test run (pytest-xdist): what they all run is loaded and compiled once, not
once for each.

Each worker has a session of its own in it, with settings and temporary views; the SparkContext, its task
slots, the names in the metastore and the queries that are kept in memory are shared.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaObject
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import ensure_callback_server_started, launch_gateway
from pyspark.sql import SparkSession

from newslake.spark.session import spark_session

_APP = "newslake tests"
# Where PySpark looks for a JVM that is there already.
_PORT, _SECRET = "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"


@contextmanager
def shared_session(folder: Path, master: str, settings: Mapping[str, str]) -> Iterator[SparkSession]:
    """A session in the JVM of the run: the first worker that asks starts it, and ends it when no other needs
    it any more.

    Args:
        folder: of the run, the same for all of its workers.
        master: such as `local[2]`.
        settings: those of the SparkContext, and of each session until it changes them.
    """
    known = folder / "gateway.json"
    # Locks are let go when their process ends, whatever ends it.
    with (folder / "users.lock").open("w") as users, (folder / "start.lock").open("w") as start:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_EX)
        first = not known.exists()
        if first:
            session = spark_session(_APP, master=master, extra=settings)
            gateway: Any = session.sparkContext._gateway
            where = {
                _PORT: str(gateway.gateway_parameters.port),
                _SECRET: gateway.gateway_parameters.auth_token,
            }
            known.write_text(json.dumps(where))
        else:
            session = _session_beside(json.loads(known.read_text()))
        fcntl.flock(start, fcntl.LOCK_UN)
        try:
            yield session
        finally:
            if first:
                known.unlink()
                fcntl.flock(users, fcntl.LOCK_EX)
                session.stop()


@contextmanager
def callbacks(session: SparkSession, folder: Path) -> Iterator[None]:
    """Be the process that the JVM calls, as a stream does with each of its batches; it can call one at a
    time."""
    gateway: Any = session.sparkContext._gateway
    with (folder / "callbacks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ensure_callback_server_started(gateway)
        server = JavaObject("GATEWAY_SERVER", gateway._gateway_client)
        server.resetCallbackClient(server.getCallbackClient().getAddress(), gateway._python_proxy_port)
        yield


def _session_beside(gateway: Mapping[str, str]) -> SparkSession:
    """A new session in a JVM that another process has started."""
    os.environ.update(gateway)
    try:
        there = launch_gateway()
    finally:
        for name in gateway:
            del os.environ[name]  # the jobs that tests start have JVMs of their own
    jvm: Any = there.jvm
    theirs = jvm.org.apache.spark.sql.classic.SparkSession.getDefaultSession().get()
    context = jvm.org.apache.spark.api.java.JavaSparkContext.fromSparkContext(theirs.sparkContext())
    SparkSession(
        SparkContext(gateway=there, jsc=context, conf=SparkConf(_jconf=context.getConf())),
        theirs.newSession(),
    )
    return spark_session(_APP)  # as ever: it finds the session that this process has now
