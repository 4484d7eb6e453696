"""All generated pages by their names below docs/."""

from pathlib import Path

from newslake.reference import diagram, figures, jobs, notebook, settings, tables
from newslake.reference.pages import with_part


def pages(docs: Path) -> dict[str, str]:
    """Each page as it should be.

    Args:
        docs: the folder with the present ones; of some, only a part is generated.
    """
    benchmarks = docs.parent / "benchmarks"
    measured = with_part(
        (docs / "figures.md").read_text(encoding="utf-8"), "figures", figures.part(benchmarks / "results")
    )
    return {
        "reference/jobs.md": jobs.page(),
        "reference/tables.md": tables.page(),
        "reference/settings.md": settings.page(docs.parent),
        "architecture.md": with_part(
            (docs / "architecture.md").read_text(encoding="utf-8"), "runs", diagram.part()
        ),
        "tutorial.md": notebook.page(notebook.load(docs / "tutorial.ipynb")),
        "figures.md": with_part(measured, "fixed cost", figures.fixed_cost(benchmarks / "fixed_cost.json")),
    }
