"""conf/python.sh: which Python `make` builds .venv with."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "conf" / "python.sh"


def chosen(given: str, path: Path) -> subprocess.CompletedProcess[str]:
    """What the script says where only these programs are on the PATH, beside those of the system that it
    calls."""
    return subprocess.run(
        ["/bin/bash", str(SCRIPT), given],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def program(path: Path, name: str, script: str) -> Path:
    file = path / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_name_without_a_version_behind_it_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path, "python3.11", "exit 127")
    (tmp_path / "python3.12").symlink_to(sys.executable)
    found = chosen("", tmp_path)
    assert (found.returncode, found.stdout) == (0, f"{tmp_path}/python3.12\n")


def test_the_one_that_is_given_is_taken_or_refused(tmp_path: Path) -> None:
    assert chosen(sys.executable, tmp_path).stdout == f"{sys.executable}\n"
    refused = chosen(str(program(tmp_path, "python3.9", "exit 1")), tmp_path)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"newslake needs Python 3.11, 3.12 or 3.13, and PYTHON={tmp_path}/python3.9 is none of them\n"
    )


def test_without_any_it_says_how_to_get_one(tmp_path: Path) -> None:
    found = chosen("", tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert "uv python install 3.12" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_uv_fetches_one_where_there_is_none(tmp_path: Path) -> None:
    """As uv answers: `python install` fetches, and `python find` prints where it is."""
    program(tmp_path, "uv", f'case "$2" in install) echo fetching >&2;; find) echo "{sys.executable}";; esac')
    found = chosen("", tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{sys.executable}\n", "fetching\n")
