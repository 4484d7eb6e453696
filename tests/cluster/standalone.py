"""A real Spark cluster on this machine: a Master and Workers as processes of their own, by pyspark's
spark-class."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

import pyspark

from tests.killing import kill_tree
from tests.ports import free_port

SPARK_HOME = Path(pyspark.__file__).parent
_WAIT_S = 120.0


class Cluster:
    """One Master, and Workers of one core each, while the `with` block runs."""

    def __init__(self, folder: Path, *, workers: int = 2, memory: str = "1500m") -> None:
        self.folder = folder
        self.port, self._ui = free_port(), free_port()
        self._memory = memory
        self._master: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._wanted = workers

    @property
    def master(self) -> str:
        """What spark-submit takes as --master."""
        return f"spark://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._master = self._start("master.Master", "--port", str(self.port), "--webui-port", str(self._ui))
        self._wait(0)
        for _ in range(self._wanted):
            self.add_worker()
        self._wait(self._wanted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self.workers, self._master]:
            if process is not None:
                kill_tree(process.pid)
                process.wait()

    def add_worker(self) -> None:
        """Start one more Worker."""
        number = len(self.workers)
        sizes = ["--cores", "1", "--memory", self._memory, "--webui-port", "0"]
        self.workers.append(
            self._start(
                "worker.Worker", *sizes, "--work-dir", str(self.folder / f"work-{number}"), self.master
            )
        )

    def kill_worker(self, number: int) -> None:
        """SIGKILL a Worker with its executor and the executor's Python workers, as a machine that is gone."""
        kill_tree(self.workers[number].pid)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            str(SPARK_HOME / "bin" / "spark-class"),
            f"org.apache.spark.deploy.{name}",
            "--host",
            "127.0.0.1",
            *arguments,
        ]
        environment = {
            **os.environ,
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        environment["PYSPARK_PYTHON"] = sys.executable
        with (self.folder / f"{name}-{len(self.workers)}.log").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _wait(self, workers: int) -> None:
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            try:
                with urlopen(f"http://127.0.0.1:{self._ui}/json/", timeout=5) as answer:
                    if json.load(answer)["aliveworkers"] >= workers:
                        return
            except (OSError, ValueError):  # not there yet, or a page in place of JSON in its first moments
                pass
            time.sleep(0.2)
        raise TimeoutError(f"the cluster has not {workers} workers after {_WAIT_S} s: see {self.folder}")
