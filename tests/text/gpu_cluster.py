"""Run by test_gpu.py as a process of its own: a local cluster whose worker claims two GPUs; prints what its
tasks saw, as JSON."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from newslake.spark.session import spark_session
from newslake.text.embed import EmbedSettings, embed_column
from newslake.text.spec import EncoderSpec, resolve

TASKS, SLOTS = 8, 4


def seen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What one task is given, and which device the encoder would take, were these GPUs real."""
    from pyspark import TaskContext

    from newslake.text.embed import _place

    list(batches)
    began = time.time()
    there = sys.modules.get("torch")
    sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))  # type: ignore[assignment]
    try:
        device, threads = _place(EmbedSettings(device="auto"))
    finally:
        if there is None:
            del sys.modules["torch"]
        else:
            sys.modules["torch"] = there
    task = TaskContext.get()
    assert task is not None
    addresses = task.resources()["gpu"].addresses
    time.sleep(2.0)
    columns = {
        "addresses": [addresses],
        "device": [device],
        "threads": [threads],
        "began": [began],
        "ended": [time.time()],
    }
    yield pa.RecordBatch.from_pydict(columns)


def main(model: str, script: str) -> dict[str, Any]:
    """Two GPUs on one worker of four cores, half a GPU for each task."""
    gpus = {
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": script,
        "spark.executor.resource.gpu.amount": "2",
        "spark.executor.resource.gpu.discoveryScript": script,
        "spark.task.resource.gpu.amount": "0.5",
        "spark.executor.cores": str(SLOTS),
        "spark.executor.memory": "1g",
        "spark.driver.memory": "1g",
        "spark.task.maxFailures": "1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
    }
    spark = spark_session("gpu test", master=f"local-cluster[1,{SLOTS},1024]", extra=gpus)
    spark.sparkContext.setLogLevel("OFF")
    schema = "addresses array<string>, device string, threads bigint, began double, ended double"
    tasks = [
        row.asDict() for row in spark.range(TASKS, numPartitions=TASKS).mapInArrow(seen, schema).collect()
    ]
    rows = spark.range(2, numPartitions=1).selectExpr("id", "'the city wins' AS text")
    fallen_back = embed_column(
        rows, "text", None, resolve(EncoderSpec(model)), settings=EmbedSettings(device="auto")
    ).collect()
    try:
        embed_column(
            rows, "text", None, resolve(EncoderSpec(model)), settings=EmbedSettings(device="cuda")
        ).collect()
        refused = ""
    except Exception as error:
        refused = str(error)
    spark.stop()
    return {
        "tasks": tasks,
        "fallen_back": [len(row["embedded"]["vector"]) for row in fallen_back],
        "refused": refused,
    }


if __name__ == "__main__":
    print("RESULT " + json.dumps(main(*sys.argv[1:])))
