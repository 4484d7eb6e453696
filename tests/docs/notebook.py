"""Runs a notebook without Jupyter: `python -m tests.docs.notebook docs/tutorial.ipynb` keeps what its cells
print."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from newslake.reference.notebook import Notebook, code_cells, load

FOLDER = "folder"
"""The notebook's own name for where it works: a temporary folder, which what is kept of its output does not
name."""


def run(notebook: Notebook) -> dict[str, Any]:
    """Run the cells in order in one namespace, put what they print into the notebook, and return the names
    that they leave.

    Only what is printed is kept: the value of a cell's last line is not.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, (cell, source) in enumerate(code_cells(notebook), start=1):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(source, f"cell {number}", "exec"), names)
        text = said.getvalue().replace(str(names.get(FOLDER)), FOLDER)
        lines = [line.rstrip() + "\n" for line in text.splitlines()]
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
    return names


def save(notebook: Notebook, file: Path) -> None:
    """Keep the notebook, laid out as Jupyter does."""
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    made = load(Path(sys.argv[1]))
    run(made)
    save(made, Path(sys.argv[1]))
