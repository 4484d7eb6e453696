"""Run jobs of the built-in sample one by one, in a session of Spark Connect or a classic one.

python -m tests.connect.sample_jobs connect FOLDER 240 30 150 parse_behaviors encode_articles
"""

import json
import os
import sys
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path

from newslake.lake.lakehouse import Lakehouse
from newslake.pipeline.plan import Option, Task
from newslake.pipeline.sample import sample_run
from newslake.run.cli import job_options, run_job, set_logging, use_utc
from newslake.spark.connect import is_connect
from newslake.spark.session import quiet, spark_session
from newslake.text.spec import DEFAULT_MODEL
from tests.connect.files_seen import seen
from tests.killing import SMALL

SEEN = "files seen: "
# Refused in a session of Spark Connect: done where its key is named.
_STREAM = "stream_articles"


def tasks_of(folder: str, sizes: Mapping[str, Option], keys: Collection[str] = ()) -> list[Task]:
    """The sample's tasks, some of them or all but its stream.

    Args:
        folder: of the lakehouse; the sample's files lie beside it.
        sizes: of the sample.
        keys: of the tasks; none: all but the stream.
    """
    every = sample_run(
        f"{folder}_files",
        {**sizes, "seed": 0},
        {"encoder": DEFAULT_MODEL},
        {"seed": 0, "epochs": 1},
        0,
        whole=True,
    )
    return [task for task in every if (task.key in keys if keys else task.key != _STREAM)]


def run_tasks(lake: Lakehouse, tasks: Collection[Task]) -> None:
    """Run the jobs, in order."""
    for task in tasks:
        run_job(task.job, lake, job_options(task.job, task.arguments))  # as the pipeline does
        print(f"done: {task.key}", flush=True)


def main() -> None:
    """Open the session, run the jobs, and leave."""
    kind, folder, articles, users, impressions, *keys = sys.argv[1:]
    use_utc()
    set_logging("warning")
    place = {"spark.remote": "local[2]"} if kind == "connect" else {"spark.master": "local[2]"}
    settings = {**SMALL, "spark.default.parallelism": "2", "spark.driver.memory": "2g"}
    spark = spark_session("sample jobs", extra={**settings, **place})
    quiet(spark)
    assert is_connect(spark) == (kind == "connect")
    print(SEEN + json.dumps(seen(spark, Path(f"{folder}_seen"))), flush=True)
    sizes: dict[str, Option] = {
        "articles": int(articles),
        "users": int(users),
        "impressions": int(impressions),
    }
    try:
        run_tasks(Lakehouse(spark, folder), tasks_of(folder, sizes, keys))
    except Exception:
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _leave(status: int) -> None:
    """End without ending the session: frames that its server holds can keep Python from its end for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
