"""A Milvus server that many processes can connect to: Milvus Lite's engine, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port


@contextmanager
def milvus_server(folder: Path) -> Iterator[str]:
    """The address of a server that keeps its data in a folder; it ends with the block."""
    port = free_port()
    command = [sys.executable, "-u", "-m", "milvus_lite", "server", "--data-dir", str(folder)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert "listening" in server.stdout.readline()
        yield f"http://127.0.0.1:{port}"
        server.kill()
