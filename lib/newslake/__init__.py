"""newslake: Spark jobs that turn news articles and reading behaviour into vectors, recommendations and clean
labels.

For notebooks: `open_lakehouse` opens the tables, `jobs` has every job as a function, `similar_articles` looks
for neighbours.
"""

from importlib import import_module
from typing import Any

__all__ = ["Lakehouse", "jobs", "open_lakehouse", "similar_articles"]

_WHERE = {
    "Lakehouse": "newslake.lake.lakehouse",
    "open_lakehouse": "newslake.notebook",
    "similar_articles": "newslake.search.similar",
}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: a Python worker imports this package too, and needs none of it.
    if name == "jobs":
        return import_module("newslake.jobs")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module newslake has no attribute {name}")
