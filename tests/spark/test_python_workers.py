"""Python workers come from a daemon that has imported what they need, and nothing that they do not."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

import psutil
import pyarrow as pa
from pyspark.sql import SparkSession

from newslake.spark import python_workers
from newslake.spark.python_workers import map_with_torch

SCHEMA = "daemon bigint, command string, has_torch boolean"


def parents(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What the worker was forked from."""
    for _ in batches:
        daemon = psutil.Process(os.getppid())
        has_torch = any("libtorch" in mapped.path for mapped in daemon.memory_maps())
        row = {"daemon": daemon.pid, "command": " ".join(daemon.cmdline()), "has_torch": has_torch}
        yield pa.RecordBatch.from_pylist([row])


def test_only_work_that_needs_torch_is_forked_from_a_process_that_has_it(spark: SparkSession) -> None:
    rows = spark.range(0, 2, 1, 2)
    ways = [
        rows.mapInArrow(parents, SCHEMA),
        map_with_torch(rows, parents, SCHEMA),
        rows.mapInArrow(parents, SCHEMA),
    ]
    plain, with_torch, plain_again = (way.collect() for way in ways)
    assert {row["has_torch"] for row in plain + plain_again} == {False}
    assert {row["has_torch"] for row in with_torch} == {True}
    for found in (plain, with_torch):
        assert len({row["daemon"] for row in found}) == 1
        assert all(python_workers.MODULE in row["command"] for row in found)
    assert (
        {row["daemon"] for row in plain}
        == {row["daemon"] for row in plain_again}
        != {row["daemon"] for row in with_torch}
    )


def test_a_daemon_does_not_ask_for_a_gpu_by_what_it_imports() -> None:
    # CUDA cannot be used by what is forked from a process that has used it.
    script = """
import importlib, torch
from newslake.spark import python_workers
asked = []
for name in ("is_available", "device_count", "_lazy_init"):
    setattr(torch.cuda, name, lambda *_, name=name: asked.append(name) or 0)
for name in (*python_workers._ALWAYS, *python_workers._TORCH):
    importlib.import_module(name)
assert torch.cuda.is_available() == 0 and asked.pop() == "is_available"
print(asked)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
