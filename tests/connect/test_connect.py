"""Jobs in a session of Spark Connect leave the tables that they leave in a classic one, and what such a
session cannot do is refused in one line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.merging import Clause, merge_statement
from newslake.lake.tablespec import table_names
from newslake.pipeline.plan import Option
from newslake.spark.connect import is_connect, parallelism, refuse_connect
from tests.connect.files_seen import seen
from tests.connect.sample_jobs import SEEN, run_tasks, tasks_of
from tests.killing import PROJECT, content, run_job

SMALL: Mapping[str, Option] = {"articles": 400, "users": 50, "impressions": 300}
DAY = "2019-11-14"
FIRST = ("generate_mind", "parse_behaviors", "encode_articles")
UP_TO_FEEDS = (
    *("generate_mind", "parse_behaviors", "import_labels", "encode_articles", "fit_topics", "assign_topics"),
    *("build_article_vectors", "find_stories"),
    *(f"{job} {DAY}" for job in ("build_profiles", "build_phrases", "encode_tag_phrases")),
    *(f"build_user_vectors {DAY}", "rank_newsfeed"),
)
INTAKE = ("generate_mind", "parse_behaviors", "import_labels", "stream_articles")
# When something happened here, and the ids that a table or a collection was given when it was made, which
# counted_to names: never the same twice. Of a run also its own id.
PASSING = (
    *("collection_id", "counted_to"),
    *("activated_at", "checked_at", "compared_at", "completed_at", "decided_at", "ended_at"),
    *("exported_at", "first_seen_at", "fitted_at", "ingested_at", "purged_at", "read_at"),
    *("started_at", "trained_at"),
)
OF_RUNS = frozenset(("job_starts", "job_runs"))


def run_in_connect(folder: Path, sizes: Mapping[str, Option], keys: Sequence[str] = ()) -> str:
    """Run the sample's jobs in a session of Spark Connect, in a process of their own: one process has no room
    for both kinds. Returns what it printed."""
    numbers = [str(sizes[name]) for name in ("articles", "users", "impressions")]
    # Spark's own tests take any free port so; else two servers of one machine would want the same one.
    environment = {**os.environ, "SPARK_TESTING": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.connect.sample_jobs", "connect", str(folder), *numbers, *keys],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def _settled(name: str, rows: DataFrame) -> DataFrame:
    """What two lakehouses have alike: a ranker's run is named after the tables that it read, and a mean over
    tasks is sure but for its last bits."""
    if name != "promotions":
        return rows
    numbers = [field.name for field in rows.schema if isinstance(field.dataType, T.DoubleType)]
    named = F.when(F.col("kind") != "ranker", F.col("run_id"))
    return rows.withColumns({"run_id": named, **{number: F.round(number, 9) for number in numbers}})


def assert_same_tables(lake: Lakehouse, other: Lakehouse) -> None:
    """The same tables, with the same rows but for the moments at which they were made."""
    there = [name for name in table_names() if lake.exists(name)]
    assert there == [name for name in table_names() if other.exists(name)]
    differing = {
        name: (ours[0], theirs[0])
        for name in there
        if name not in OF_RUNS
        if (ours := content(_settled(name, lake.read(name)), without=PASSING))
        != (theirs := content(_settled(name, other.read(name)), without=PASSING))
    }
    assert not differing
    for name in OF_RUNS:
        assert lake.read(name).count() == other.read(name).count()


def test_the_first_jobs_in_a_session_of_spark_connect_leave_the_same_tables(
    lake: Lakehouse, tmp_path: Path
) -> None:
    folder = tmp_path / "connect" / "lakehouse"
    said = run_in_connect(folder, SMALL, FIRST)
    [files] = [line.removeprefix(SEEN) for line in said.splitlines() if line.startswith(SEEN)]
    assert json.loads(files) == seen(lake.spark, tmp_path / "here")
    run_tasks(lake, tasks_of(str(lake.root), SMALL, FIRST))
    assert_same_tables(lake, Lakehouse(lake.spark, str(folder)))
    assert lake.read("article_embeddings").count() > 0


@pytest.mark.slow
def test_jobs_up_to_the_newsfeed_leave_the_same_tables(lake: Lakehouse, tmp_path: Path) -> None:
    folder = tmp_path / "connect" / "lakehouse"
    run_in_connect(folder, SMALL, UP_TO_FEEDS)
    run_tasks(lake, tasks_of(str(lake.root), SMALL, UP_TO_FEEDS))
    assert_same_tables(lake, Lakehouse(lake.spark, str(folder)))
    assert lake.read("newsfeed").count() > 0


@pytest.mark.slow
def test_every_job_of_the_sample_leaves_the_same_tables(lake: Lakehouse, tmp_path: Path) -> None:
    # The articles' bodies come by a stream, which both start from.
    run_tasks(lake, tasks_of(str(lake.root), SMALL, INTAKE))
    folder = tmp_path / "connect" / "lakehouse"
    shutil.copytree(str(lake.root), folder)
    run_in_connect(folder, SMALL)
    run_tasks(lake, tasks_of(str(lake.root), SMALL))
    assert_same_tables(lake, Lakehouse(lake.spark, str(folder)))


def test_a_job_by_its_command_line_and_one_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "articles.jsonl").write_text("{}\n")
    options = ("--files", str(tmp_path / "articles.jsonl"), "--lakehouse", str(tmp_path / "lakehouse"))
    done = run_job("stream_articles", "--once", *options, SPARK_REMOTE="local[2]", SPARK_TESTING="1")
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("stream_articles: ")]
    assert "a stream needs each batch in the process that started it" in line
    assert "without SPARK_REMOTE" in line


def test_a_server_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    # No proxy of this machine, which would answer instead.
    no_proxy = dict.fromkeys(("grpc_proxy", "https_proxy", "http_proxy"), "")
    done = run_job("make_views", "--lakehouse", str(tmp_path), **no_proxy, SPARK_REMOTE="sc://127.0.0.1:9")
    assert done.returncode == 2
    assert "no server of Spark Connect at sc://127.0.0.1:9 (Connection refused): start it" in done.stderr


def test_a_classic_session_is_none_of_spark_connect(spark: SparkSession) -> None:
    assert not is_connect(spark)
    assert parallelism(spark) == spark.sparkContext.defaultParallelism
    refuse_connect(spark, "a stream", "nothing")


def test_a_merge_as_a_statement() -> None:
    clauses = [
        Clause("delete", "new.gone"),
        Clause("update", "new.gone IS NULL", ("`a`", "`b`")),
        Clause("insert", "new.gone IS NULL", ("`a`", "`b`")),
    ]
    assert merge_statement("delta.`/my {lake}`", "old.`a` = new.`a`", clauses) == (
        "MERGE INTO delta.`/my {{lake}}` AS old USING {rows} AS new ON old.`a` = new.`a`"
        " WHEN MATCHED AND new.gone THEN DELETE"
        " WHEN MATCHED AND new.gone IS NULL THEN UPDATE SET `a` = new.`a`, `b` = new.`b`"
        " WHEN NOT MATCHED AND new.gone IS NULL THEN INSERT (`a`, `b`) VALUES (new.`a`, new.`b`)"
    )
    assert merge_statement("t", "x", [Clause("update"), Clause("insert")]).endswith(
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
