"""The Databricks jobs, made from the definition of the runs: what databricks.yml loads (needs
databricks-bundles).

Every job of newslake becomes a spark_python_task on the wheel, with the tables in Unity Catalog. A wrong
option is the job's own to find: it checks its command line there as here.
"""

import math
from pathlib import Path
from typing import Any, cast

import yaml
from databricks.bundles.core import Bundle, Location, Resources
from databricks.bundles.jobs import Job

from newslake.pipeline.plan import Option, Task, arguments_of
from newslake.pipeline.runs import Places, checks, daily, hourly, streams, weekly
from newslake.run.cli import defaults_of

CONF = Path("conf") / "databricks"
_ENCODER: dict[str, Option] = {"encoder": "${var.encoder}"}
_PLACES = Places(
    "${var.milvus_uri}", "${var.staging}/feeds", "${var.staging}/report.html", "${var.staging}/checkpoints"
)
_AS_OF = "{{job.parameters.as_of}}"
_TRIGGERED = "{{job.trigger.time.iso_date}}"
_FOLDERS = {
    "staging": "${var.staging}",
    "model_folder": "${var.staging}/models",
    "scratch_folder": "${var.staging}/scratch",
}
"""Options that name a folder which lies beside the tables where these lie in a folder; in Unity Catalog they
lie in none."""

_ABOUT = {
    "streams": "Articles and live events from Kafka as they come",
    "hourly": "Vectors of new articles, every user's newsfeed, new articles' classes",
    "checks": (
        "Freshness, row counts, quarantine, lag of streams, newsfeeds and calibration, against thresholds"
    ),
    "daily": "Users' profiles, tag phrases and vectors of the day",
    "weekly": "Topics, recommenders, the text classifiers, and short texts' corrected classes",
}


# Databricks starts a continuous job again by itself, and takes no other retries there.
_ENDLESS = {"continuous": {"pause_status": "UNPAUSED"}}
# A check that fails has found something: again it would find, and tell, the same.
_ONCE = ("streams", "checks")
# Every job leaves its tables whole and goes on where it was, so that a lost machine costs a retry and no
# more.
_RETRIES = {"max_retries": 2, "min_retry_interval_millis": 60_000}


def load_resources(bundle: Bundle) -> Resources:
    """The bundle's jobs; the bundle's root must be the current folder, as the Databricks CLI has it.

    Args:
        bundle: tells the variables' values.
    """
    settings = yaml.safe_load((CONF / "runs.yaml").read_text(encoding="utf-8"))
    settings["clusters"]["gpu"]["spark_conf"].update(
        gpu_shares(*(int(bundle.variables[name]) for name in ("gpu_cores", "gpus", "tasks_per_gpu")))
    )
    runs = {
        "streams": streams(
            _ENCODER,
            kafka="${var.kafka}",
            topics=("${var.articles_topic}", "${var.events_topic}"),
            places=_PLACES,
        ),
        "hourly": hourly(_ENCODER, places=_PLACES),
        "checks": checks(webhook="${var.webhook}"),
        "daily": daily(_ENCODER, as_of=_AS_OF, places=_PLACES),
        "weekly": weekly(_ENCODER, as_of=_AS_OF, places=_PLACES),
    }
    resources = Resources()
    # Paths are relative to the file that a resource comes from: to the bundle's root.
    location = Location(file="databricks.yml", line=1, column=1)
    for name, tasks in runs.items():
        resources.add_job(
            name, Job.from_dict(cast(Any, databricks_job(name, tasks, settings))), location=location
        )
    return resources


def gpu_shares(cores: int, gpus: int, tasks_per_gpu: int) -> dict[str, str]:
    """Spark's settings for so many tasks a GPU: each takes its share of the GPU and as large a share of the
    cores.

    Args:
        cores, gpus: of one worker.
        tasks_per_gpu: tasks that share a GPU.

    Raises:
        ValueError: a task would have no core.
    """
    if min(cores, gpus, tasks_per_gpu) < 1 or cores < gpus * tasks_per_gpu:
        raise ValueError(
            f"{tasks_per_gpu} tasks on each of {gpus} GPUs do not fit {cores} cores: lower tasks_per_gpu"
        )
    # Rounded down: seven shares of 0.1429 do not fit one GPU.
    share = f"{math.floor(10_000 / tasks_per_gpu) / 10_000:g}"
    return {"spark.task.resource.gpu.amount": share, "spark.task.cpus": str(cores // (gpus * tasks_per_gpu))}


def databricks_job(name: str, tasks: list[Task], settings: dict[str, Any]) -> dict[str, Any]:
    """One run as Databricks describes a job.

    Args:
        name: of the run.
        tasks: its tasks, in order.
        settings: the content of conf/databricks/runs.yaml.
    """
    machines = sorted({task.machine for task in tasks})
    dated = any(_AS_OF in argument for task in tasks for argument in task.arguments)
    return {
        "name": f"newslake {name}",
        "description": _ABOUT[name],
        **(
            _scheduled(settings["schedules"][name], settings["timeout_hours"][name])
            if name in settings["schedules"]
            else _ENDLESS
        ),
        "max_concurrent_runs": 1,
        "email_notifications": {"on_failure": ["${var.notify}"]},
        "parameters": [{"name": "as_of", "default": _TRIGGERED}] if dated else [],
        "job_clusters": [
            {"job_cluster_key": machine, "new_cluster": settings["clusters"][machine]} for machine in machines
        ],
        "tasks": [{**_task(task, settings), **({} if name in _ONCE else _RETRIES)} for task in tasks],
    }


def _scheduled(cron: str, hours: int) -> dict[str, Any]:
    # The next run would work on the same tables: it waits in the queue.
    return {
        "schedule": {"quartz_cron_expression": cron, "timezone_id": "UTC"},
        "queue": {"enabled": True},
        "timeout_seconds": hours * 3600,
    }


def _task(task: Task, settings: dict[str, Any]) -> dict[str, Any]:
    known = defaults_of(task.job)
    options = {**task.options, **{option: folder for option, folder in _FOLDERS.items() if option in known}}
    return {
        "task_key": task.key,
        "depends_on": [{"task_key": key} for key in task.after],
        "spark_python_task": {
            "python_file": f"./jobs/{task.job.__name__}.py",
            "parameters": ["--catalog=${var.catalog}", "--schema=${var.schema}", *arguments_of(options)],
        },
        "job_cluster_key": task.machine,
        "libraries": settings["libraries"],
    }
