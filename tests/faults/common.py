"""What the tests of faults share: a small real job to run, a disk of a chosen size, and what its user
sees."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from newslake.intake.sources.labels.load import import_labels
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import main
from tests.killing import content


def texts(path: Path, count: int, words: int = 3) -> Path:
    """A file of labelled texts for import_labels, in which no text repeats another."""
    with path.open("w") as file:
        for number in range(count):
            body = " ".join(f"w{(number * 7919 + place * 104729) % 1_000_003}" for place in range(words))
            file.write(
                json.dumps(
                    {"news_id": f"T{number:06}", "title": f"text {number}", "body": body, "class": "sports"}
                )
                + "\n"
            )
    return path


def import_texts(lake: Lakehouse, file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Run import_labels as from the command line: its exit status, and the lines it says of its end (not of
    its progress)."""
    status = 0
    try:
        main(import_labels, [f"--texts={file}", f"--lakehouse={lake.root}", "--log-level=error"])
    except SystemExit as end:
        status = int(end.code or 0)
    said = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("import_labels: ") or "Traceback" in line
    ]
    return status, said


def news(lake: Lakehouse) -> tuple[int, int]:
    """Count and hash of table news."""
    return content(lake.read("news"))


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own (tmpfs) at a folder; skips the test where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a disk of its own needs the right to mount a tmpfs: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted disk, such as `ro` or `size=64m`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
