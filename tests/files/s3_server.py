"""A real server that speaks S3, on loopback: moto's, in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.killing import kill_tree
from tests.ports import free_port

_WAIT_S = 120.0


class S3:
    """The server, with one empty bucket `lake`, while the `with` block runs."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def hadoop(self) -> dict[str, str]:
        """The settings of fs.s3a for it, by Hadoop's names."""
        return {
            "fs.s3a.endpoint": self.endpoint,
            "fs.s3a.endpoint.region": "us-east-1",
            "fs.s3a.path.style.access": "true",
            "fs.s3a.access.key": "anyone",
            "fs.s3a.secret.key": "anything",
        }

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            try:
                with urlopen(Request(f"{self.endpoint}/lake", method="PUT"), timeout=10):
                    return self
            except (URLError, OSError):  # not there yet
                time.sleep(0.2)
        self._stop()
        raise TimeoutError(
            f"the S3 server does not answer after {_WAIT_S} s: {self._log.read_text()[-2000:]}"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            kill_tree(self._process.pid)
            self._process.wait()
