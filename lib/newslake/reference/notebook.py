"""docs/tutorial.ipynb: run without Jupyter, and made into the page docs/tutorial.md.

`python -m newslake.reference.notebook docs/tutorial.ipynb` runs it and keeps what its cells print; then `make reference`.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from newslake.reference.pages import NOTE

Notebook = dict[str, Any]
FOLDER = "folder"
"""The notebook's own name for where it works: a temporary folder, which what is kept of its output does not name."""


def code_cells(notebook: Notebook) -> Iterator[tuple[dict[str, Any], str]]:
    """Each cell of code with its source."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield cell, "".join(cell["source"])


def run(notebook: Notebook) -> dict[str, Any]:
    """Run the cells in order in one namespace, put what they print into the notebook, and return the names that they leave.

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


def page(notebook: Notebook) -> str:
    """The notebook as Markdown: texts, code, and what was printed."""
    lines = [NOTE.replace("from the code: change the code", "from tutorial.ipynb: change that"), ""]
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [source, ""]
            continue
        lines += ["```python", source, "```", ""]
        for output in cell["outputs"]:
            lines += ["```text", "".join(output["text"]).rstrip("\n"), "```", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def load(file: Path) -> Notebook:
    """The notebook of a file."""
    notebook: Notebook = json.loads(file.read_text(encoding="utf-8"))
    return notebook


def save(notebook: Notebook, file: Path) -> None:
    """Keep the notebook, laid out as Jupyter does."""
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    made = load(Path(sys.argv[1]))
    run(made)
    save(made, Path(sys.argv[1]))
