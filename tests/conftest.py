"""One Spark session for each worker of a run, as small as it goes; every test has tables of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark import python_workers
from newslake.spark.session import quiet, spark_session
from tests.killing import SMALL

os.environ["TZ"] = "UTC"
time.tzset()

# No hub is asked in tests, whatever the machine reaches.
os.environ["HF_HUB_OFFLINE"] = "1"

_SMALL = {
    **SMALL,
    "spark.default.parallelism": "2",
    "spark.python.daemon.module": python_workers.MODULE,  # as conf/spark/local.conf has it
    "spark.ui.enabled": "false",
    "spark.driver.memory": "3g",
    # Delta keeps what it knows of 10,000 tables for an hour, some 2 MB for each; tests are done with theirs
    # within minutes.
    "spark.databricks.delta.delta.log.cacheSize": "64",
    # What so many different queries compile to nearly fills Java's default of 240 MB.
    "spark.driver.extraJavaOptions": "-XX:ReservedCodeCacheSize=480m",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """This worker's session: two shuffle partitions, no UI."""
    warehouse = {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    session = spark_session("newslake tests", master="local[2]", extra={**_SMALL, **warehouse})
    quiet(session)
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
