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

os.environ["TZ"] = "UTC"
time.tzset()

# No hub is asked in tests, whatever the machine reaches.
os.environ["HF_HUB_OFFLINE"] = "1"

_SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "2g",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    # Tests read many tiny tables, for which to generate and compile code costs more than to interpret the plan. Jobs that run as processes
    # of their own (kills, streams, whole pipelines) generate code as they do for a user.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
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
