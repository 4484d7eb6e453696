"""One Spark session for the whole run, as small as it goes; every test has tables of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.jobrun import JobRun
from newslake.lakehouse import Lakehouse
from newslake.session import spark_session
from tests.killing import SMALL

os.environ["TZ"] = "UTC"
time.tzset()

# No hub is asked in tests, whatever the machine reaches.
os.environ["HF_HUB_OFFLINE"] = "1"

_SMALL = {
    **SMALL,
    "spark.default.parallelism": "2",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "2g",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    # Most of what tests run is soon over: four times as many calls before the JVM's second compiler takes a method saves a tenth.
    "spark.driver.extraJavaOptions": " ".join(
        f"-XX:Tier4{threshold}Threshold={calls}"
        for threshold, calls in (("Invocation", 20_000), ("MinInvocation", 5_000), ("Compile", 30_000), ("BackEdge", 200_000))
    ),
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session of the run: two cores, two shuffle partitions, no UI."""
    warehouse = {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    session = spark_session("newslake tests", master="local[2]", extra={**_SMALL, **warehouse})
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lakehouse:
    """An empty lakehouse."""
    return Lakehouse(spark, str(tmp_path / "lakehouse"))


@pytest.fixture
def run() -> JobRun:
    """What a job reports to."""
    return JobRun("test")
