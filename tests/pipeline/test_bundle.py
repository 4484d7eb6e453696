"""The Databricks bundle, built by Databricks' own package: every task's file, parameter and option exists,
and GPUs are shared as asked."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.bundles.core import Bundle
from databricks.bundles.schemas import Schema
from databricks.bundles.volumes import Volume
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from newslake.pipeline.bundle import gpu_shares, load_resources
from newslake.pipeline.plan import Task
from newslake.pipeline.runs import checks, daily, hourly, streams, weekly
from newslake.run.cli import defaults_of, job_options
from newslake.spark.session import spark_settings

PROJECT = Path(__file__).parent.parent.parent
BUNDLE: dict[str, Any] = yaml.safe_load((PROJECT / "databricks.yml").read_text(encoding="utf-8"))
STORAGE: dict[str, Any] = yaml.safe_load(
    (PROJECT / "conf" / "databricks" / "storage.yml").read_text(encoding="utf-8")
)["resources"]
RUNS = {
    "streams": streams({}, kafka="kafka:9092", topics=("articles", "events")),
    "hourly": hourly({}),
    "checks": checks(webhook="https://chat/hook"),
    "daily": daily({}, as_of="2019-11-15"),
    "weekly": weekly({}),
}


def built(folder: Path) -> dict[str, Any]:
    """The jobs, made as the Databricks CLI has them made: by a process of databricks-bundles in the bundle's
    root."""
    folder.mkdir(exist_ok=True)
    values = {name: {**entry, "value": entry["default"]} for name, entry in BUNDLE["variables"].items()}
    given = {**BUNDLE, "bundle": {**BUNDLE["bundle"], "target": "dev"}, "variables": values}
    (folder / "input.json").write_text(json.dumps(given), encoding="utf-8")
    files = [f"--{name}={folder / name}.json" for name in ("input", "output", "diagnostics", "locations")]
    command = [sys.executable, "-m", "databricks.bundles.build", "--phase=load_resources", *files]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr + (folder / "diagnostics.json").read_text(encoding="utf-8")
    jobs: dict[str, Any] = json.loads((folder / "output.json").read_text(encoding="utf-8"))["resources"][
        "jobs"
    ]
    return jobs


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The jobs with the variables' defaults."""
    return built(tmp_path_factory.mktemp("bundle") / "default")


def tasks_of(jobs: dict[str, Any]) -> list[dict[str, Any]]:
    return [task for job in jobs.values() for task in job["tasks"]]


def test_the_jobs_are_the_runs(jobs: dict[str, Any]) -> None:
    assert set(jobs) == set(RUNS)
    for name, tasks in RUNS.items():
        found = {task["task_key"]: task for task in jobs[name]["tasks"]}
        assert list(found) == [task.key for task in tasks]
        for task in tasks:
            assert found[task.key]["spark_python_task"]["python_file"] == f"./jobs/{task.job.__name__}.py"
            assert {each["task_key"] for each in found[task.key].get("depends_on", [])} == set(task.after)
            assert found[task.key]["job_cluster_key"] == task.machine
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", task.key)


def test_every_task_is_a_script_whose_parameters_its_job_takes(jobs: dict[str, Any]) -> None:
    by_name = {task.job.__name__: task.job for tasks in RUNS.values() for task in tasks}
    for task in tasks_of(jobs):
        path = PROJECT / task["spark_python_task"]["python_file"]
        assert path.exists()
        job = by_name[path.stem]
        assert f"main({path.stem})" in path.read_text(encoding="utf-8")
        given = [
            argument.replace("{{job.parameters.as_of}}", "2019-11-15")
            for argument in task["spark_python_task"]["parameters"]
        ]
        assert not [argument for argument in given if "{{" in argument]
        # The job's own parser, shared options included: an unknown option or a value of the wrong type
        # raises.
        assert job_options(job, given) == job_options(job, given[2:])
        assert given[:2] == ["--catalog=${var.catalog}", "--schema=${var.schema}"]


def test_folders_that_lie_beside_tables_are_named(jobs: dict[str, Any]) -> None:
    by_name: dict[str, Task] = {task.job.__name__: task for tasks in RUNS.values() for task in tasks}
    for task in tasks_of(jobs):
        job = by_name[Path(task["spark_python_task"]["python_file"]).stem].job
        options = job_options(job, task["spark_python_task"]["parameters"])
        for name in {"staging", "scratch_folder", "model_folder"} & set(defaults_of(job)):
            assert options[name].startswith("${var.staging}")


def test_clusters_libraries_and_variables_are_there(jobs: dict[str, Any]) -> None:
    text = json.dumps(jobs) + json.dumps(STORAGE) + json.dumps(BUNDLE)
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) <= set(BUNDLE["variables"])
    for job in jobs.values():
        assert {cluster["job_cluster_key"] for cluster in job["job_clusters"]} == {
            task["job_cluster_key"] for task in job["tasks"]
        }
        for cluster in job["job_clusters"]:
            assert re.fullmatch(r"17\.3\.x-(gpu-ml-)?scala2\.13", cluster["new_cluster"]["spark_version"])
    for task in tasks_of(jobs):
        assert task["libraries"] == [
            {"whl": "./dist/*.whl"},
            {"requirements": "./conf/databricks/requirements.txt"},
        ]
    assert "--wheel-dir dist" in BUNDLE["artifacts"]["newslake"]["build"]
    for path in [*BUNDLE["include"], "conf/databricks/requirements.txt"]:
        assert (PROJECT / path).exists()
    for entry in BUNDLE["python"]["resources"]:
        module, _, function = entry.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    # Databricks' classes refuse a field that they do not know.
    assert Schema.from_dict(STORAGE["schemas"]["newslake"]).as_dict()["name"] == "${var.schema}"
    assert Volume.from_dict(STORAGE["volumes"]["staging"]).as_dict()["name"] == "staging"


def test_runs_start_in_time_one_at_a_time_and_say_when_they_fail(jobs: dict[str, Any]) -> None:
    assert jobs["streams"]["continuous"] == {"pause_status": "UNPAUSED"}
    # Databricks refuses retries of tasks in a continuous job; a breach would be told three times.
    assert all(
        ("max_retries" in task) == (name not in ("streams", "checks"))
        for name, job in jobs.items()
        for task in job["tasks"]
    )
    assert {
        name: job["schedule"]["quartz_cron_expression"] for name, job in jobs.items() if "schedule" in job
    } == {
        "hourly": "0 5 * * * ?",
        "checks": "0 45 * * * ?",
        "daily": "0 15 0 * * ?",
        "weekly": "0 0 20 ? * SAT",
    }
    for name, job in jobs.items():
        assert name == "streams" or job["schedule"]["timezone_id"] == "UTC"
        assert job["max_concurrent_runs"] == 1
        assert job["email_notifications"] == {"on_failure": ["${var.notify}"]}
        dated = "{{job.parameters.as_of}}" in json.dumps(job["tasks"])
        assert job.get("parameters", []) == (
            [{"name": "as_of", "default": "{{job.trigger.time.iso_date}}"}] if dated else []
        ), name
    assert BUNDLE["targets"]["dev"]["mode"] == "development"
    assert BUNDLE["targets"]["prod"]["mode"] == "production"


def gpu_settings(jobs: dict[str, Any]) -> dict[str, str]:
    [cluster] = [
        cluster["new_cluster"]
        for cluster in jobs["hourly"]["job_clusters"]
        if cluster["job_cluster_key"] == "gpu"
    ]
    settings: dict[str, str] = cluster["spark_conf"]
    return settings


def test_tasks_share_a_gpu_as_the_variables_say(
    jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gpu_settings(jobs)
    assert (settings["spark.task.resource.gpu.amount"], settings["spark.task.cpus"]) == ("0.5", "8")
    monkeypatch.chdir(PROJECT)
    other = load_resources(
        Bundle(target="prod", variables={"gpu_cores": "48", "gpus": "4", "tasks_per_gpu": "3"})
    )
    settings = gpu_settings({name: job.as_dict() for name, job in other.jobs.items()})
    assert (settings["spark.task.resource.gpu.amount"], settings["spark.task.cpus"]) == ("0.3333", "4")


@pytest.mark.parametrize(
    ("cores", "gpus", "tasks"), [(16, 2, 2), (16, 1, 2), (48, 4, 3), (8, 1, 1), (96, 8, 7)]
)
def test_gpus_and_cores_allow_the_same_number_of_tasks(cores: int, gpus: int, tasks: int) -> None:
    shares = gpu_shares(cores, gpus, tasks)
    # Spark's own rule: as many tasks on one GPU as whole shares fit in it.
    assert int(1 / float(shares["spark.task.resource.gpu.amount"])) == tasks
    assert cores // int(shares["spark.task.cpus"]) >= gpus * tasks
    with pytest.raises(ValueError, match="lower tasks_per_gpu"):
        gpu_shares(cores, gpus, cores + 1)


def test_shares_are_those_of_the_settings_for_other_clusters() -> None:
    conf = spark_settings("gpu")
    shares = gpu_shares(int(conf["spark.executor.cores"]), int(conf["spark.executor.resource.gpu.amount"]), 2)
    assert shares == {name: conf[name] for name in shares}


def test_pins_for_databricks_are_within_those_of_setup_py() -> None:
    lines = (PROJECT / "conf" / "databricks" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {
        pin.name: pin for pin in (Requirement(line) for line in lines if line and not line.startswith("#"))
    }
    assert pins.pop("pyspark").specifier == SpecifierSet("==4.0.*"), "as runtime 17.3 has it"
    assert set(pins) == {"petastorm", "setuptools"}
    ranges = re.findall(
        r'^ {4}"([^"]+)",$', (PROJECT / "setup.py").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    known = {wanted.name: wanted for wanted in map(Requirement, ranges)}
    for name, pin in pins.items():
        [exact] = pin.specifier
        assert exact.operator == "=="
        assert known[name].specifier.contains(exact.version), f"{pin} against {known[name]}"
    locked = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert all(f"{pin} " in locked for pin in pins.values()), "what the tests run with"
