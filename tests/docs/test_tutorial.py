"""docs/tutorial.ipynb: its cells run in order, and what it says of its article and its reader is so."""

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from newslake import jobs
from newslake.reference.notebook import code_cells, load, page
from tests.docs.notebook import run

NOTEBOOK = load(Path(__file__).parent.parent.parent / "docs" / "tutorial.ipynb")
CODE = "\n".join(source for _, source in code_cells(NOTEBOOK))


def called() -> list[tuple[str, set[str]]]:
    """Each call of a job in the cells, with the names of its options."""
    calls = [
        node
        for node in ast.walk(ast.parse(CODE))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    of_jobs = [(call, call.func) for call in calls if isinstance(call.func, ast.Attribute)]
    return [
        (func.attr, {keyword.arg for keyword in call.keywords if keyword.arg})
        for call, func in of_jobs
        if isinstance(func.value, ast.Name) and func.value.id == "jobs"
    ]


def test_it_calls_jobs_with_options_that_they_have() -> None:
    assert len(called()) > 15
    for name, options in called():
        inspect.signature(getattr(jobs, name)).bind(None, **dict.fromkeys(options))


def test_a_notebook_runs_and_becomes_a_page(tmp_path: Path) -> None:
    text: dict[str, Any] = {"cell_type": "markdown", "source": ["# Two\n", "cells"]}
    code = [
        {"cell_type": "code", "source": [line], "outputs": []}
        for line in ("folder = '/tmp/x'", "print(folder + '/y')")
    ]
    notebook = {"cells": [text, *code]}
    assert run(notebook)["folder"] == "/tmp/x"
    assert (
        page(notebook).split("-->\n\n")[1]
        == "# Two\ncells\n\n```python\nfolder = '/tmp/x'\n```\n\n```python\nprint(folder +"
        " '/y')\n```\n\n```text\nfolder/y\n```\n"
    )


@pytest.mark.slow
def test_the_cells_run_and_the_article_and_the_reader_are_in_every_table(spark: SparkSession) -> None:
    names = run(load(Path(__file__).parent.parent.parent / "docs" / "tutorial.ipynb"))
    lake, reader, article, day = (names[name] for name in ("lake", "reader", "article", "day"))
    done = {row["job"] for row in lake.read("job_runs").where("outcome = 'done'").collect()}
    assert done == {name for name, _ in called()}
    mine = {"user_id": reader, "news_id": article}
    for table, keys in (
        ("impressions", ("user_id", "news_id")),
        ("user_articles", ("user_id", "news_id")),
        ("article_embeddings", ("news_id",)),
        ("article_topics", ("news_id",)),
        ("article_vectors", ("news_id",)),
        ("stories", ("news_id",)),
        ("article_ctr", ("news_id",)),
        ("user_tags", ("user_id",)),
        ("user_phrases", ("user_id",)),
        ("user_vectors", ("user_id",)),
        ("user_embeddings", ("user_id",)),
    ):
        where = " AND ".join(f"{key} = '{mine[key]}'" for key in keys)
        assert lake.read(table).where(where).count() > 0, table
    # The first part of the joined vector is the embedding, scaled.
    [embedding] = (np.array(row["embedding"]) for row in names["embedding"].collect())
    [joined] = (np.array(row["vector"]) for row in names["joined"].collect())
    assert joined.size > embedding.size
    part = joined[: embedding.size]
    assert part @ embedding / np.linalg.norm(part) / np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    feed = names["feed"].collect()
    assert sorted(row["rank"] for row in feed) == list(range(1, 11))
    clicked = {
        row["news_id"]
        for row in (
            lake.read("impressions")
            .where(f"clicked AND user_id = '{reader}' AND occurred_at < '{day} 12:00'")
            .collect()
        )
    }
    assert article in clicked
    assert not clicked & {row["news_id"] for row in feed}
