"""docs/tutorial.ipynb as the page docs/tutorial.md. tests/docs/notebook.py runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from newslake.reference.pages import NOTE

Notebook = dict[str, Any]


def code_cells(notebook: Notebook) -> Iterator[tuple[dict[str, Any], str]]:
    """Each cell of code with its source."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            yield cell, "".join(cell["source"])


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
