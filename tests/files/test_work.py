"""Where what lies beside the tables goes, for each kind of lakehouse."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.files.remote import RemotePath
from newslake.files.work import beside, local_work, of_this_machine, shared_folder
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import lakehouse_at


def test_it_lies_in_the_lakehouse_unless_told_otherwise(spark: SparkSession) -> None:
    here = Lakehouse(spark, "/data/lake")
    assert shared_folder(here, "_models", "--model-folder") == Path("/data/lake/_models")
    assert of_this_machine(here, "_milvus") == Path("/data/lake/_milvus")
    assert local_work(Lakehouse(spark, "file:///data/lake")) == Path("/data/lake")
    there = shared_folder(Lakehouse(spark, "s3a://bucket/lake/"), "_models", "--model-folder")
    assert isinstance(there, RemotePath)
    assert there.place == "s3a://bucket/lake/_models"
    moved = Lakehouse(spark, "s3a://bucket/lake", work_folder="/mnt/work/")
    assert beside(moved, "_feeds", "--out") == "/mnt/work/_feeds"
    assert beside(moved, "_feeds", "--out", "gs://elsewhere/feeds") == "gs://elsewhere/feeds"
    assert local_work(moved) == Path("/mnt/work")


def test_a_file_of_the_driver_has_a_place_for_each_lakehouse(spark: SparkSession) -> None:
    one, other = (
        of_this_machine(Lakehouse(spark, f"s3a://bucket/{name}"), "_milvus") for name in ("one", "other")
    )
    assert one != other
    assert one.is_relative_to(Path.home() / ".newslake")
    assert local_work(Lakehouse(spark, "s3a://bucket/one")) is None
    assert local_work(Lakehouse(spark, "dbfs:/lake")) is None


def test_tables_by_name_want_a_work_folder(spark: SparkSession) -> None:
    with pytest.raises(UserError, match="give --work-folder FOLDER for all, or --staging for this"):
        shared_folder(Lakehouse(spark, schema="news"), "_staging", "--staging")
    named = lakehouse_at(spark, schema="news", work_folder="work")
    assert shared_folder(named, "_staging", "--staging") == Path.cwd() / "work" / "_staging"
