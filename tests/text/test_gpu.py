"""GPU executors without a GPU: who is given which address, what happens where there is none, and the settings
that we ship."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from newslake.errors import JobFailed
from newslake.spark.session import spark_settings
from newslake.text.embed import ahead, device_of
from tests.killing import PROJECT
from tests.text.gpu_cluster import SLOTS, TASKS

DISCOVERY = PROJECT / "conf" / "spark" / "gpu_discovery.sh"


def fake_nvidia_smi(folder: Path) -> dict[str, str]:
    """An environment whose nvidia-smi lists two GPUs."""
    smi = folder / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    smi.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_each_task_takes_the_gpu_that_it_was_given(small_model: Path, tmp_path: Path) -> None:
    """A worker with two GPUs, two tasks a GPU, found by the script that we ship."""
    # A real GPU, where this machine has one, is hidden.
    environment = {**fake_nvidia_smi(tmp_path), "PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": ""}
    script = tmp_path / "discover.sh"
    # A worker starts with an environment of its own.
    script.write_text(f"#!/bin/sh\nPATH={tmp_path}:$PATH exec {DISCOVERY}\n")
    script.chmod(0o755)
    command = [sys.executable, "-m", "tests.text.gpu_cluster", str(small_model), str(script)]
    # The cluster's work folder goes where it starts.
    made = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
    )
    lines = [line for line in made.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, made.stderr[-3000:]
    found = json.loads(lines[0].removeprefix("RESULT "))
    tasks = found["tasks"]
    assert len(tasks) == TASKS
    assert all(len(task["addresses"]) == 1 for task in tasks)
    assert all(task["device"] == f"cuda:{task['addresses'][0]}" for task in tasks)
    assert {task["addresses"][0] for task in tasks} == {"0", "1"}
    most = {
        address: most_at_once([task for task in tasks if task["addresses"] == [address]])
        for address in ("0", "1")
    }
    assert max(most.values()) == 2
    assert most_at_once(tasks) <= SLOTS
    # There is no real GPU: auto falls back to the CPU, cuda fails and says why.
    assert found["fallen_back"] == [32, 32]
    assert "--device cuda, but torch sees no GPU on this worker" in found["refused"]


def most_at_once(tasks: list[dict[str, float]]) -> int:
    """The largest number of tasks that ran at one time."""
    return max(sum(other["began"] <= task["began"] < other["ended"] for other in tasks) for task in tasks)


def test_addresses_are_torchs_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_of("auto", {"gpu": ["3"]}) == "cuda:3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert device_of("auto", {"gpu": ["3"]}) == "cuda:1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a1,GPU-b2")
    assert device_of("cuda", {"gpu": ["GPU-b2"]}) == "cuda:1"
    with pytest.raises(JobFailed, match="the GPU 'GPU-c3'"):
        device_of("auto", {"gpu": ["GPU-c3"]})


def test_discovery_script(tmp_path: Path) -> None:
    def found(**environment: str) -> dict[str, object]:
        made = subprocess.run(
            [str(DISCOVERY)],
            env={**fake_nvidia_smi(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        content: dict[str, object] = json.loads(made.stdout)
        return content

    assert found(CUDA_VISIBLE_DEVICES="") == {"name": "gpu", "addresses": ["0", "1"]}
    assert found(CUDA_VISIBLE_DEVICES="2, GPU-5f") == {"name": "gpu", "addresses": ["2", "GPU-5f"]}
    # As where there is no driver, also on a machine that has one.
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 127\n")
    missing = subprocess.run(
        [str(DISCOVERY)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert missing.returncode != 0


def test_shipped_settings_leave_no_core_and_no_gpu_idle() -> None:
    settings = spark_settings("gpu")
    by_cores = int(settings["spark.executor.cores"]) / int(settings["spark.task.cpus"])
    by_gpus = int(settings["spark.executor.resource.gpu.amount"]) / float(
        settings["spark.task.resource.gpu.amount"]
    )
    assert by_cores == by_gpus == 4
    assert settings["spark.executor.resource.gpu.discoveryScript"].endswith("/gpu_discovery.sh")
    assert (resources.files("newslake.conf") / "spark" / "gpu_discovery.sh").is_file()


def test_the_next_chunk_is_made_while_the_last_one_is_used() -> None:
    started = {n: threading.Event() for n in range(4)}

    def work(n: int) -> int:
        started[n].set()
        return n * n

    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(3):
            taken.append(threading.get_ident())
            yield n

    results = ahead(work, items())
    assert next(results) == 0
    assert started[1].wait(10)  # before anyone asks for it
    assert not started[2].is_set()
    assert list(results) == [1, 4]
    assert set(taken) == {threading.get_ident()}
    assert list(ahead(work, iter([]))) == []


def test_what_fails_ahead_fails_where_it_is_used() -> None:
    results = ahead(lambda n: 1 // n, iter([1, 0, 1]))
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
