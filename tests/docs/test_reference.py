"""The generated pages say what the code says, and README's picture and links are true."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake import jobs
from newslake.lake.tablespec import table_names, table_spec
from newslake.reference.diagram import RUNS, flowchart, tasks_of
from newslake.reference.flow import FLOWS, also_writing, whole, writers
from newslake.reference.pages import COMMAND, prose, table, with_part
from newslake.reference.settings import ENVIRONMENT
from newslake.reference.tables import columns
from newslake.reference.write import pages
from newslake.run.cli import settings_of

PROJECT = Path(__file__).parent.parent.parent
DOCS = PROJECT / "docs"
README = (PROJECT / "README.md").read_text(encoding="utf-8")
WRITTEN = pages(DOCS)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    file = DOCS / name
    assert file.read_text(encoding="utf-8") == WRITTEN[name], (
        f"docs/{name} is stale: run `{COMMAND}` (or `make reference`), and commit it"
    )


@pytest.mark.parametrize("name", table_names())
def test_columns_are_those_that_spark_reads(spark: SparkSession, name: str) -> None:
    spec = table_spec(name)
    told = [
        (one.name, one.type.replace(": ", ":").lower(), not one.required, one.comment)
        for one in columns(spec)
    ]
    simple = [
        (f.name, re.sub(r", ?", ",", f.dataType.simpleString()), f.nullable, f.metadata["comment"])
        for f in spec.schema()
    ]
    assert [(n, re.sub(r", ?", ",", t), null, c) for n, t, null, c in told] == simple
    section = WRITTEN["reference/tables.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert [row.split("`")[1] for row in section.splitlines() if row.startswith("| `")] == spec.schema().names


@pytest.mark.parametrize("name", jobs.__all__)
def test_the_page_has_every_option_of_a_job(name: str) -> None:
    section = WRITTEN["reference/jobs.md"].split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = {row.split("`")[1]: row for row in section.splitlines() if row.startswith("| `--")}
    other = {"--from-day": "--from", "--to-day": "--to"} if name == "run_pipeline" else {}
    named = ("--" + option.replace("_", "-") for option in settings_of(jobs.function_of(name), {}))
    options = {other.get(option, option) for option in named}
    assert rows.keys() == options
    assert all(
        re.fullmatch(r"\|[^|]+\|[^|]*\|.+\|", row.replace("\\|", "")) and not row.endswith("|  |")
        for row in rows.values()
    ), "help"


def test_every_job_says_which_tables_it_reads_and_writes() -> None:
    assert FLOWS.keys() == set(jobs.__all__)
    for flow in FLOWS.values():
        assert whole(flow.reads) | whole(flow.writes) <= set(table_names())


@pytest.mark.parametrize("name", table_names())
def test_who_writes_a_table_is_what_its_contract_says(name: str) -> None:
    assert all(name in whole(FLOWS[job].writes) for job in writers(name))
    assert set(also_writing(name)) <= {"compare_models", "stream_articles"}


def test_readme_draws_what_jobs_read_and_write() -> None:
    picture = README.split("```mermaid\n")[1].split("```")[0]
    edges = set()
    for line in picture.splitlines()[1:]:
        ends = [re.split(r"[\[(:]", end.strip())[0] for end in line.split("-->")]
        edges |= set(pairwise(ends))
    edges.discard(("export_vectors", "served"))
    assert len(edges) > 20
    for begin, end in edges:
        assert begin in FLOWS[end].reads if end in FLOWS else end in FLOWS[begin].writes, (begin, end)


@pytest.mark.parametrize("run", RUNS)
def test_a_picture_has_the_jobs_of_its_run_and_only_edges_of_theirs(run: str) -> None:
    names = {task.job.__name__ for task in tasks_of(run)}
    edges = [line.split(" --> ") for line in flowchart(sorted(names)) if " --> " in line]
    drawn = {end.strip() for edge in edges for end in edge} & FLOWS.keys()
    assert drawn == {name for name in names if "*" not in FLOWS[name].reads}
    assert all((begin.strip() in FLOWS) != (end in FLOWS) for begin, end in edges), (
        "between a job and a table"
    )


def test_the_page_names_every_variable_that_is_read_of_the_environment() -> None:
    read = re.compile(r"environ(?:ment)?(?:\.get\(|\[)\"(\w+)\"|\"(\w+)\" not in os\.environ")
    found = {
        name
        for path in (PROJECT / "lib").rglob("*.py")
        for pair in read.findall(path.read_text(encoding="utf-8"))
        for name in pair
        if name
    }
    assert found - {"TZ", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM", "LOCAL_RANK"} == ENVIRONMENT.keys()


@pytest.mark.parametrize(
    "file",
    [PROJECT / "README.md", *sorted(DOCS.rglob("*.md"))],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_links_lead_to_pages_that_are_there(file: Path) -> None:
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = "".join(target)
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        there = file.parent / path if path else file
        assert there.is_file(), f"{link}: no such file"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, link


def test_every_page_is_in_the_site() -> None:
    nav = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    assert sorted(re.findall(r"[\w/]+\.md", nav)) == sorted(
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
    )


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_text_becomes_markdown_and_a_part_is_put_between_its_marks() -> None:
    assert (
        prose("see --as-of and jobs/find_stories.py, 2 * x < y")
        == "see `--as-of` and `jobs/find_stories.py`, 2 \\* x &lt; y"
    )
    assert table(("a", "b"), [("x|y", "")]) == ["| a | b |", "| --- | --- |", "| x\\|y |  |"]
    assert (
        with_part("x\n<!-- begin p -->\nold\n<!-- end p -->\ny", "p", ["new"])
        == "x\n<!-- begin p -->\nnew\n<!-- end p -->\ny"
    )
    with pytest.raises(ValueError, match="begin q"):
        with_part("x", "q", [])
