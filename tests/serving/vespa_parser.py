"""Vespa's own feed client, in a dry run: it reads a feed as it would read it to send it, and says what is
wrong.

Its jars are fetched once by Spark's own Ivy into the environment, and checked against vespa_jars.lock. It
runs in a JVM of its own, driven as PySpark drives Spark's, so that no Java compiler is needed.
"""

import fcntl
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from newslake.spark.local_setup import fetch_jars

LOCK = Path(__file__).parent / "vespa_jars.lock"
HOME = Path(sys.prefix) / "vespa"


class Refused(Exception):
    """Vespa's parser does not take the feed."""


class VespaParser:
    """The parser of vespa-feed-client."""

    def __enter__(self) -> Self:
        spark_home = Path(pyspark.__file__).parent
        py4j = next((spark_home / "jars").glob("py4j-*.jar"))
        port = launch_gateway(
            jarpath=str(py4j), classpath=_class_path(spark_home), javaopts=["-Xmx256m"], die_on_exit=True
        )
        self._gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port))
        self._jvm = self._gateway.jvm
        client = self._jvm.ai.vespa.feed.client
        anywhere = self._jvm.java.net.URI.create("http://localhost:1")  # a dry run connects to nothing
        self._client = client.FeedClientBuilder.create(anywhere).setDryrun(True).build()
        self._feeder = client.JsonFeeder.builder(self._client).build()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feeder.close()
        self._gateway.shutdown()

    def feed(self, content: bytes) -> int:
        """Read a feed, JSON lines or an array; returns how many operations it holds.

        Raises:
            Refused: an operation is none; says why.
        """
        before = int(self._client.stats().successes())
        try:
            self._feeder.feedMany(self._jvm.java.io.ByteArrayInputStream(content)).get()
        except Py4JJavaError as error:
            raise Refused(str(error.java_exception)) from None
        # The client counts an operation a moment after it is done.
        seen, deadline = -1, time.monotonic() + 120
        while time.monotonic() < deadline:
            stats = self._client.stats()
            found = int(stats.successes())
            if found == seen and int(stats.inflight()) == 0:
                break
            seen = found
            time.sleep(0.2)
        return seen - before

    def one(self, line: str) -> tuple[str, str, str]:
        """Read one operation; returns the namespace, type and own part of its document id."""
        document = self._feeder.feedSingle(line).get().documentId()
        return str(document.namespace()), str(document.documentType()), str(document.userSpecific())


def _class_path(spark_home: Path) -> str:
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as held:  # two test runs at once
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch_jars(HOME / "libs", LOCK.read_text(encoding="utf-8"), LOCK.name, spark_home)
    return os.pathsep.join(str(jar) for jar in sorted((HOME / "libs").glob("*.jar")))
