"""What the tests of checks share: a file of checks, the job as its user calls it, and rows of job_runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from newslake.checks.check import check_lakehouse
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import main


def check(lake: Lakehouse, folder: Path, *checks: dict[str, Any], **options: str) -> int:
    """The exit status of the job as its user runs it, on a file with these checks."""
    file = folder / "checks.yaml"
    file.write_text(yaml.safe_dump({"checks": list(checks)}), encoding="utf-8")
    arguments = [f"--{name}={value}" for name, value in options.items()]
    try:
        main(check_lakehouse, [f"--checks={file}", f"--lakehouse={lake.root}", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def results(lake: Lakehouse) -> dict[str, tuple[float | None, bool | None]]:
    """Value and verdict of each check in the last run."""
    rows = lake.read("check_results").collect()
    runs = {row["run_id"]: row["started_at"] for row in lake.read("job_runs").collect()}
    last = max(rows, key=lambda row: runs[row["run_id"]])["run_id"]
    return {row["check_name"]: (row["value"], row["passed"]) for row in rows if row["run_id"] == last}


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """Lines on stdout, and all of stderr."""
    said = capsys.readouterr()
    return said.out.splitlines(), said.err


def job_run(run_id: str, job: str, **columns: Any) -> dict[str, Any]:
    """A run: a row of job_runs, or of job_starts while it is running."""
    return {
        "run_id": run_id,
        "job": job,
        "settings": {},
        "facts": {},
        "outcome": "done",
        "rows_quarantined": 0,
        **columns,
    }


@dataclass
class Heard:
    """What a server heard, and how it answers."""

    url: str = ""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def server() -> Iterator[Heard]:
    """A real HTTP server on this machine that takes JSON by POST."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.paths.append(self.path)
            heard.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(heard.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{service.server_address[1]}/hook"
    thread = Thread(target=service.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        service.shutdown()
        service.server_close()
        thread.join()
