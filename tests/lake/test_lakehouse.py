"""The writes: what lands in a table, what a rerun adds, what is refused."""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from deltalake import DeltaTable, QueryBuilder
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from newslake.errors import SchemaMismatch, UserError
from newslake.lake.lakehouse import SAFE_HOURS, Lakehouse, Written
from newslake.spark.frames import frame_of
from tests.killing import SHORT_LIVED

REFUSED = (PySparkException, Py4JJavaError)  # PySpark does not convert all of Delta's exceptions


def vectors(lake: Lakehouse, *rows: tuple[str, float], model: str = "mf", run_id: str = "r1") -> DataFrame:
    """Rows of user_embeddings, with one-dimensional vectors."""
    values = [(user, model, run_id, [value]) for user, value in rows]
    return frame_of(lake.spark, values, "user_id string, model string, run_id string, embedding array<float>")


def users(lake: Lakehouse) -> dict[str, float]:
    """user_id -> the only value of the vector."""
    return {row.user_id: row.embedding[0] for row in lake.read("user_embeddings").collect()}


def test_merge_inserts_what_is_new_and_updates_what_differs(lake: Lakehouse) -> None:
    assert lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0))) == Written(inserted=2)
    assert lake.merge("user_embeddings", vectors(lake, ("U2", 2.5), ("U3", 3.0))) == Written(
        inserted=1, updated=1
    )
    assert users(lake) == {"U1": 1.0, "U2": 2.5, "U3": 3.0}


def test_merging_the_same_rows_again_changes_nothing(lake: Lakehouse) -> None:
    rows = vectors(lake, ("U1", 1.0), ("U2", 2.0))
    lake.merge("user_embeddings", rows)
    files = lake.files("user_embeddings")
    assert lake.merge("user_embeddings", rows) == Written()
    assert lake.files("user_embeddings") == files


def test_merge_without_update_leaves_known_keys_alone(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0)))
    assert lake.merge("user_embeddings", vectors(lake, ("U1", 9.0), ("U2", 2.0)), update=False) == Written(
        inserted=1
    )
    assert users(lake) == {"U1": 1.0, "U2": 2.0}


def test_update_changes_what_is_there_and_adds_nothing(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0)))
    assert lake.update("user_embeddings", vectors(lake, ("U2", 2.5), ("U3", 3.0))) == Written(updated=1)
    assert users(lake) == {"U1": 1.0, "U2": 2.5}
    assert lake.update("user_embeddings", vectors(lake, ("U4", 4.0))) == Written()


def test_merge_moves_a_row_to_another_key_in_one_commit(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0), ("U3", 3.0)))
    gone = vectors(lake, ("U1", 0.0), ("U9", 0.0)).select("user_id", "model", "run_id")
    moved = vectors(lake, ("U1", 1.0), run_id="r2").union(vectors(lake, ("U2", 2.5)))
    assert lake.merge("user_embeddings", moved, gone=gone) == Written(inserted=1, updated=1, deleted=1)
    assert sorted(
        (row.user_id, row.run_id, row.embedding[0]) for row in lake.read("user_embeddings").collect()
    ) == [
        ("U1", "r2", 1.0),
        ("U2", "r1", 2.5),
        ("U3", "r1", 3.0),
    ]
    operations = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.location('user_embeddings')}`").where(
        "operation = 'MERGE'"
    )
    assert operations.count() == 2


def test_a_key_twice_in_one_merge_is_refused(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0)))
    with pytest.raises(PySparkException, match="DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"):
        lake.merge("user_embeddings", vectors(lake, ("U1", 2.0), ("U1", 3.0)))
    assert users(lake) == {"U1": 1.0}


def test_replace_touches_only_its_slice(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), model="mf"))
    lake.merge("user_embeddings", vectors(lake, ("U2", 2.0), ("U3", 3.0), model="content"))
    lake.replace("user_embeddings", vectors(lake, ("U4", 4.0), model="content"), where={"model": "content"})
    assert users(lake) == {"U1": 1.0, "U4": 4.0}


def test_replace_refuses_rows_outside_its_slice(lake: Lakehouse) -> None:
    with pytest.raises(PySparkException, match="DELTA_REPLACE_WHERE_MISMATCH"):
        lake.replace("user_embeddings", vectors(lake, ("U1", 1.0), model="mf"), where={"model": "content"})


@pytest.mark.parametrize("where", [{}, {"no_such_column": "x"}])
def test_replace_wants_a_slice_of_the_table(lake: Lakehouse, where: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a slice names columns"):
        lake.replace("user_embeddings", vectors(lake, ("U1", 1.0)), where=where)


def test_replace_takes_values_with_quotes_and_backslashes(lake: Lakehouse) -> None:
    awkward = "o'clock \\ `tick`"
    lake.replace("user_embeddings", vectors(lake, ("U1", 1.0), model=awkward), where={"model": awkward})
    lake.replace("user_embeddings", vectors(lake, ("U2", 2.0), model=awkward), where={"model": awkward})
    assert users(lake) == {"U2": 2.0}
    assert len(lake.files("user_embeddings", where={"model": awkward})) == 1


def test_append_adds_rows_and_says_how_many(lake: Lakehouse) -> None:
    assert lake.append("user_embeddings", vectors(lake, ("U1", 1.0))) == Written(inserted=1)
    assert lake.append("user_embeddings", vectors(lake, ("U2", 2.0), ("U3", 3.0))) == Written(inserted=2)
    assert lake.append("user_embeddings", vectors(lake)) == Written()
    assert users(lake) == {"U1": 1.0, "U2": 2.0, "U3": 3.0}


def test_several_values_are_one_slice(lake: Lakehouse) -> None:
    for user, model in (("U1", "mf"), ("U2", "dssm"), ("U3", "nrms")):
        lake.append("user_embeddings", vectors(lake, (user, 1.0), model=model))
    rows = vectors(lake, ("U4", 4.0), model="mf").union(vectors(lake, ("U5", 5.0), model="dssm"))
    assert lake.replace("user_embeddings", rows, where={"model": ["mf", "dssm"]}) == Written(inserted=2)
    assert users(lake) == {"U3": 1.0, "U4": 4.0, "U5": 5.0}
    assert lake.replace("user_embeddings", rows.limit(0), where={"model": ["mf", "nrms"]}) == Written()
    assert users(lake) == {"U5": 5.0}


def test_delete_says_how_many(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0)))
    assert lake.delete("user_embeddings", "user_id = 'U1'") == 1
    assert users(lake) == {"U2": 2.0}


def test_all_differences_of_a_schema_are_told_at_once(lake: Lakehouse) -> None:
    wrong = frame_of(lake.spark, [("U1", 1, "x")], "user_id string, model int, surprise string")
    with pytest.raises(SchemaMismatch) as refusal:
        lake.merge("user_embeddings", wrong)
    message = str(refusal.value)
    for part in (
        "run_id is missing",
        "embedding is missing",
        "surprise is not in schemas",
        "model is int, wants string",
    ):
        assert part in message
    assert not lake.exists("user_embeddings")


def test_not_null_and_constraints_are_enforced(lake: Lakehouse) -> None:
    with pytest.raises(REFUSED, match="DELTA_NOT_NULL_CONSTRAINT_VIOLATED"):
        lake.merge(
            "user_embeddings", vectors(lake, ("U1", 1.0)).withColumn("user_id", F.lit(None).cast("string"))
        )
    with pytest.raises(REFUSED, match="DELTA_VIOLATE_CONSTRAINT"):
        lake.merge(
            "user_embeddings",
            vectors(lake, ("U1", 1.0)).withColumn("embedding", F.array().cast("array<float>")),
        )
    assert lake.read("user_embeddings").count() == 0


def test_a_table_not_built_yet_is_the_users_mistake_and_says_which_job_builds_it(lake: Lakehouse) -> None:
    with pytest.raises(UserError, match=r"news is not there yet.*parse_behaviors"):
        lake.read("news")


def test_tables_are_read_without_spark(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0)))
    lake.merge("user_embeddings", vectors(lake, ("U2", 2.5)))
    query = QueryBuilder().register("t", DeltaTable(f"{lake.root}/user_embeddings"))
    table = query.execute("SELECT user_id, embedding FROM t ORDER BY user_id").read_all()
    assert [column.to_pylist() for column in table.columns] == [["U1", "U2"], [[1.0], [2.5]]]


def test_files_are_those_of_the_latest_version(lake: Lakehouse) -> None:
    lake.replace("user_embeddings", vectors(lake, ("U1", 1.0)), where={"model": "mf"})
    lake.replace("user_embeddings", vectors(lake, ("U2", 2.0)), where={"model": "mf"})
    files = lake.files("user_embeddings")
    assert lake.spark.read.parquet(*files).select("user_id").collect() == [("U2",)]
    assert len(files) < len(list(Path(str(lake.root)).rglob("*.parquet")))


def test_tables_may_be_names_in_a_metastore(spark: SparkSession) -> None:
    spark.sql("CREATE SCHEMA IF NOT EXISTS by_name")
    lake = Lakehouse(spark, schema="by_name")
    try:
        lake.merge("user_embeddings", vectors(lake, ("U1", 1.0)))
        lake.replace("user_embeddings", vectors(lake, ("U2", 2.0)), where={"model": "mf"})
        lake.append("user_embeddings", vectors(lake, ("U3", 3.0)))
        assert users(lake) == {"U2": 2.0, "U3": 3.0}
        assert spark.catalog.tableExists("by_name.user_embeddings")
    finally:
        spark.sql("DROP SCHEMA by_name CASCADE")


@pytest.mark.parametrize(
    "arguments", [{}, {"root": "x", "schema": "y"}, {"root": "x", "catalog": "c"}, {"catalog": "c"}]
)
def test_a_lakehouse_is_either_a_folder_or_names(spark: SparkSession, arguments: dict[str, str]) -> None:
    with pytest.raises(UserError):
        Lakehouse(spark, **arguments)


RACER = """
import sys, time
from pathlib import Path
from newslake.spark.frames import frame_of
from newslake.lake.lakehouse import Lakehouse
from newslake.spark.session import spark_session
small = {"spark.ui.enabled": "false", "spark.driver.memory": "512m"}
spark = spark_session("racer", master="local[1]", extra=small)
lake = Lakehouse(spark, sys.argv[1])
columns = "user_id string, model string, run_id string, embedding array<float>"
rows = frame_of(spark, [(sys.argv[2], "mf", "r", [1.0])], columns)
Path(sys.argv[1], "ready-" + sys.argv[2]).touch()
while len(list(Path(sys.argv[1]).glob("ready-*"))) < 2:
    time.sleep(0.01)
lake.merge("user_embeddings", rows)
"""


def test_two_processes_that_create_a_table_at_once_both_succeed(lake: Lakehouse) -> None:
    assert lake.root is not None
    Path(lake.root).mkdir()
    commands = [[sys.executable, "-c", RACER, lake.root, name] for name in ("U1", "U2")]
    racers = [
        subprocess.Popen(command, env={**os.environ, **SHORT_LIVED}, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    errors = [racer.communicate(timeout=900)[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], "\n".join(error[-3000:] for error in errors)
    assert set(users(lake)) == {"U1", "U2"}


def test_remove_deletes_what_agrees_with_a_row(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), ("U2", 2.0), ("U3", 3.0)))
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0), run_id="r2"))
    gone = frame_of(lake.spark, [("U1",), ("U1",), ("U9",), (None,)], "user_id string")
    assert lake.remove("user_embeddings", gone) == 2
    assert users(lake) == {"U2": 2.0, "U3": 3.0}
    both = vectors(lake, ("U2", 2.0)).select("user_id", "run_id")
    assert lake.remove("user_embeddings", both) == 1
    assert lake.remove("user_embeddings", both) == 0
    assert users(lake) == {"U3": 3.0}
    lake.merge("user_embeddings", vectors(lake, ("U4", 4.0), ("U5", 5.0)))
    # NOT NULL, as its contract says.
    of_the_table = lake.read("user_embeddings").where("user_id <> 'U5'").select("user_id")
    assert (
        lake.remove(
            "user_embeddings", of_the_table.join(both.select("user_id"), on="user_id", how="left_anti")
        )
        == 2
    )
    assert users(lake) == {"U5": 5.0}
    for columns in ([], ["no_such"]):
        with pytest.raises(ValueError, match="removed by columns of the table"):
            lake.remove(
                "user_embeddings", lake.spark.range(1).select(*(F.lit("x").alias(name) for name in columns))
            )


def test_vacuum_deletes_what_a_killed_write_left_long_ago_and_keeps_recent_versions(lake: Lakehouse) -> None:
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0)))
    before = lake.files("user_embeddings")
    lake.merge("user_embeddings", vectors(lake, ("U1", 2.0)))
    folder = Path(lake.location("user_embeddings").removeprefix("file:"))
    left = [folder / "model=mf" / name for name in ("part-old.parquet", "part-new.parquet")]
    for path in left:
        path.write_bytes(b"half a file")
    eight_days_ago = time.time() - 8 * 24 * 3600
    os.utime(left[0], (eight_days_ago, eight_days_ago))
    lake.vacuum("user_embeddings", hours=SAFE_HOURS)
    assert [path.exists() for path in left] == [False, True]
    assert all(Path(unquote(urlsplit(file).path)).exists() for file in before), (
        "a run that began before may still read it"
    )
    assert users(lake) == {"U1": 2.0}
    with pytest.raises(ValueError, match="168 hours at least, not 24"):
        lake.vacuum("user_embeddings", hours=24)


def test_vacuum_of_a_small_table_is_a_few_tasks(lake: Lakehouse) -> None:
    """Spark's default would list each level of its folders in 10,000."""
    lake.merge("user_embeddings", vectors(lake, ("U1", 1.0)))
    context = lake.spark.sparkContext
    context.setJobGroup("vacuum", "vacuum")
    try:
        lake.vacuum("user_embeddings", hours=SAFE_HOURS)
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
    tracker = context.statusTracker()
    jobs = [job for job in map(tracker.getJobInfo, tracker.getJobIdsForGroup("vacuum")) if job]
    stages = [stage for job in jobs for stage in map(tracker.getStageInfo, job.stageIds) if stage]
    assert 0 < sum(stage.numCompletedTasks for stage in stages) < 1_000
