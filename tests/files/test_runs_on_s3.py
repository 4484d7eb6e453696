"""Whole runs with the tables on s3a://, on a real S3 server: every job, twice; nothing but Milvus Lite's file
lies on this machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from deltalake import DeltaTable

from newslake.files.remote import RemotePath
from newslake.files.storage import Storage
from tests.files.s3_jars import class_path
from tests.files.s3_server import S3
from tests.killing import SMALL, run_job

LAKEHOUSE = "s3a://lake/news app/lakehouse"
SAMPLE = ("--whole", "--articles=400", "--users=50", "--impressions=300", "--epochs=1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def home(server: S3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user's folder is: where the jobs run, empty before."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def environment(server: S3, home: Path) -> dict[str, str]:
    """Settings as a spark-submit gives them, and nothing that says where to keep what."""
    settings = {**{f"spark.hadoop.{name}": value for name, value in server.hadoop().items()}, **SMALL}
    given = [f"--conf {name}={value}" for name, value in {"spark.master": "local[2]", **settings}.items()]
    return {
        "PYSPARK_SUBMIT_ARGS": " ".join([f"--driver-class-path {class_path()}", *given, "pyspark-shell"]),
        "HOME": str(home),
        # The library that reads the tables here has settings of its own.
        "AWS_ENDPOINT_URL": server.endpoint,
    }


def pipeline(environment: dict[str, str], home: Path, *arguments: str) -> str:
    """What jobs/run_pipeline.py prints; it must end well."""
    done = run_job(
        "run_pipeline", f"--lakehouse={LAKEHOUSE}", f"--sample={home / 'sample'}", *arguments, **environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def said(environment: dict[str, str], home: Path) -> str:
    """What the first run of every job printed."""
    return pipeline(environment, home, *SAMPLE)


def in_bucket(server: S3) -> set[str]:
    """Every file in the bucket, by its path below the lakehouse."""
    root = RemotePath(LAKEHOUSE, Storage(server.hadoop()))
    _, path = root.opened()
    return {one.path[len(path) + 1 :] for one in root.below(recursive=True) if one.type == pafs.FileType.File}


@pytest.mark.slow
def test_every_job_runs_and_leaves_everything_in_the_bucket(said: str, server: S3, home: Path) -> None:
    assert re.search(r"^\d+ done; \d+ seconds$", said, flags=re.MULTILINE), said[-3000:]
    files = in_bucket(server)
    assert f"Report: {LAKEHOUSE}/_report/report.html" in said
    assert "_report/report.html" in files
    assert {name.split("/")[0] for name in files if name.startswith("_")} >= {"_report", "_models", "_feeds"}
    # The sample's files with what remembers those that were read, Milvus Lite's; nothing that a job forgot.
    left = {path.relative_to(home).parts[0] for path in home.iterdir()}
    assert left == {"sample", "sample_read", ".newslake"}
    assert {path.name for path in (home / ".newslake").glob("*/*")} == {"_milvus"}


@pytest.mark.slow
def test_other_readers_find_the_rows_that_the_run_says(said: str, server: S3) -> None:
    options = {
        "endpoint_url": server.endpoint,
        "region": "us-east-1",
        "access_key_id": "anyone",
        "secret_access_key": "anything",
        "allow_http": "true",
    }
    printed = dict(re.findall(r"^  (\w+) +([\d,]+) rows$", said, flags=re.MULTILINE))
    assert len(printed) > 30
    for table, rows in printed.items():
        if table in ("job_starts", "job_runs"):  # the run of the pipeline itself had not ended
            continue
        uri = f"{LAKEHOUSE.replace('s3a:', 's3:')}/{table}"
        found = DeltaTable(uri, storage_options=options).to_pyarrow_table(columns=None).num_rows
        assert found == int(rows.replace(",", "")), table


@pytest.mark.slow
def test_the_same_again_finds_all_done(said: str, environment: dict[str, str], home: Path) -> None:
    again = pipeline(environment, home, *SAMPLE)
    assert re.search(r"^\d+ done before; \d+ seconds$", again, flags=re.MULTILINE), again[-3000:]


@pytest.mark.slow
def test_the_hourly_run_finds_its_work(said: str, environment: dict[str, str], home: Path) -> None:
    hour = pipeline(environment, home, "--pipeline=hourly", "--hour=2019-11-16T08")
    assert re.search(r"rank_newsfeed +done +", hour), hour[-3000:]
