"""OpenLineage events: which tables a run read and wrote, where they are named, and that nothing that happens
to them happens to a job."""

import json
from pathlib import Path
from typing import Any

import pytest

from newslake.errors import JobFailed, UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import main, run_job
from newslake.run.jobrun import JobRun
from newslake.run.lineage import checked_place, dataset_name
from newslake.run.settings import SettingsFile
from newslake.spark.frames import frame_of
from tests.checks.common import server
from tests.ports import free_port

EVERY = frozenset({"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"})


def inner_job(lake: Lakehouse, run: JobRun) -> None:
    """Read one table and write another."""
    lake.read("purges").count()
    rows = frame_of(lake.spark, [("t2", "topics", None)], "model string, kind string, activated_at timestamp")
    assert rows.count() == 1
    run.rows_in(7)
    run.wrote("active_models", 1)
    run.wrote("a file", 3)
    run.quarantined(2)


def outer_job(lake: Lakehouse, run: JobRun) -> None:
    """Read a table, and run another job."""
    lake.read("stories").count()
    run_job(inner_job, lake, {}, settings_file=run.settings_file)


def failing_job(lake: Lakehouse, run: JobRun, *, how: str = "failed") -> None:
    """Fail.

    Args:
        how: In which way.
    """
    raise UserError("no such thing") if how == "mistake" else JobFailed("broken: s3://user:pass@bucket")


def events(lake: Lakehouse, where: str, job: Any, **options: Any) -> None:
    """Run a job with the setting."""
    run_job(job, lake, options, settings_file=SettingsFile(lineage=where))


def of_file(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def filled(lake: Lakehouse) -> Lakehouse:
    """A lakehouse with the two tables that the jobs read."""
    for table in ("purges", "stories"):
        lake.create(table)
    return lake


def test_a_run_tells_what_it_read_and_wrote_and_so_does_each_that_it_calls(
    filled: Lakehouse, tmp_path: Path
) -> None:
    file = tmp_path / "lineage.jsonl"
    events(filled, str(file), outer_job)
    found = of_file(file)
    assert [(event["job"]["name"], event["eventType"]) for event in found] == [
        ("outer_job", "START"),
        ("inner_job", "START"),
        ("inner_job", "COMPLETE"),
        ("outer_job", "COMPLETE"),
    ]
    assert all(event.keys() >= EVERY for event in found)
    inner, outer = found[2], found[3]
    assert (
        found[1]["run"]["runId"] == inner["run"]["runId"] != outer["run"]["runId"] == found[0]["run"]["runId"]
    )
    assert inner["inputs"] == [
        {"namespace": "file", "name": f"{filled.root}/purges", "facets": {}, "inputFacets": {}}
    ]
    assert [each["name"] for each in outer["inputs"]] == [f"{filled.root}/stories"]
    rows = {
        Path(each["name"]).name: each["outputFacets"]["outputStatistics"]["rowCount"]
        for each in inner["outputs"]
    }
    assert rows == {"active_models": 1, "quarantine": 2}
    [active] = [each for each in inner["outputs"] if each["name"].endswith("active_models")]
    assert {field["name"] for field in active["facets"]["schema"]["fields"]} == set(
        filled.schema("active_models").names
    )
    [run] = filled.read("job_runs").where("job = 'inner_job'").collect()
    tags = {tag["key"]: tag["value"] for tag in inner["run"]["facets"]["tags"]["tags"]}
    assert tags == {"run_id": run["run_id"], "rows_in": "7", "rows_quarantined": "2"}


def test_a_server_hears_of_a_failure_and_why(filled: Lakehouse) -> None:
    with server() as heard:
        for how in ("failed", "mistake"):
            with pytest.raises((JobFailed, UserError)):
                events(filled, heard.url.removesuffix("/hook"), failing_job, how=how)
    assert [event["eventType"] for event in heard.bodies] == ["START", "FAIL"] * 2
    assert heard.paths == ["/api/v1/lineage"] * 4
    said = [
        event["run"]["facets"]["errorMessage"]["message"]
        for event in heard.bodies
        if event["eventType"] == "FAIL"
    ]
    assert said == ["JobFailed: broken: s3://***@bucket", "UserError: no such thing"]


def test_the_command_line_and_the_settings_file_say_where(filled: Lakehouse, tmp_path: Path) -> None:
    main(inner_job, [f"--lakehouse={filled.root}", f"--lineage={tmp_path / 'a.jsonl'}"])
    (tmp_path / "settings.yaml").write_text(f"options: {{lineage: {tmp_path / 'b.jsonl'}}}")
    main(outer_job, [f"--lakehouse={filled.root}", f"--config={tmp_path / 'settings.yaml'}"])
    main(inner_job, [f"--lakehouse={filled.root}"])
    assert (len(of_file(tmp_path / "a.jsonl")), len(of_file(tmp_path / "b.jsonl"))) == (2, 4)


@pytest.mark.parametrize("where", ["ftp://somewhere/else", "/no/such/folder/file.jsonl", "/"])
def test_a_place_that_is_none_is_a_mistake(where: str) -> None:
    with pytest.raises(UserError, match=f"^--lineage {where}: "):
        checked_place(where)


def test_a_dead_server_fails_no_job(
    filled: Lakehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "newslake")
    with server() as heard:
        heard.status = 503
        # Nobody listens; a server that is out of order; a file whose folder goes.
        places = (f"http://127.0.0.1:{free_port()}", heard.url, str(tmp_path / "gone" / "lineage.jsonl"))
        for place in places:
            caplog.clear()
            events(filled, place, inner_job)
            told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
            assert len(told) == 2, place
            assert told[0].startswith(f"inner_job: the START event did not reach {place}: ")
            assert told[1].startswith(f"inner_job: the COMPLETE event did not reach {place}: ")
    assert [row["outcome"] for row in filled.read("job_runs").collect()] == ["done"] * 3


def test_tables_are_named_as_others_name_them(lake: Lakehouse) -> None:
    def named(*root: str, **names: str) -> tuple[str, str]:
        return dataset_name(Lakehouse(lake.spark, *root, **names), "news")

    assert named("s3a://bucket/lake") == ("s3://bucket", "lake/news")
    assert named("s3a://bucket") == ("s3://bucket", "news")
    assert named("abfss://box@account.dfs.core.windows.net/a/b") == (
        "abfss://box@account.dfs.core.windows.net",
        "a/b/news",
    )
    assert named("file:/data/lake") == ("file", "/data/lake/news")
    assert named(catalog="main", schema="newslake") == ("newslake", "main.newslake.news")
