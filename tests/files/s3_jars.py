"""Hadoop's file system for S3, for jobs on a test's server: jars fetched once by Spark's own Ivy, checked
against s3_jars.lock."""

import fcntl
import sys
from pathlib import Path

import pyspark

from newslake.spark.local_setup import fetch_jars

LOCK = Path(__file__).parent / "s3_jars.lock"
HOME = Path(sys.prefix) / "s3"


def class_path() -> str:
    """The jars, for spark.driver.extraClassPath; fetches what is missing (700 MB, once).

    Raises:
        JobFailed: a jar cannot be fetched, or is another than the lock names.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as held:  # two test runs at once
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch_jars(HOME / "libs", LOCK.read_text(encoding="utf-8"), LOCK.name, Path(pyspark.__file__).parent)
    return f"{HOME / 'libs'}/*"
