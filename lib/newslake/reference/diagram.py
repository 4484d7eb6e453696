"""The diagrams of docs/architecture.md (Mermaid): the jobs of each run with the tables between them, from
runs and contracts."""

from collections.abc import Iterable, Mapping, Sequence

from newslake.pipeline.plan import Task
from newslake.pipeline.runs import checks, daily, hourly, streams, weekly
from newslake.reference.flow import BY_ALL, FLOWS
from newslake.reference.pages import code, table

BOOKKEEPING = BY_ALL | {"quarantine", "active_models", "promotions", "purges", "model_metrics"}
"""Left out of the diagrams: nearly every job meets them."""

RUNS: Mapping[str, str] = {
    "streams": "without end: articles and events as they come",
    "hourly": "each hour: vectors of new articles, newsfeeds, classes",
    "checks": "some time after each hourly run",
    "daily": "soon after midnight UTC: readers' profiles and vectors, Milvus, purge, report",
    "weekly": "what is fitted and trained anew",
}


def tasks_of(run: str) -> list[Task]:
    """The tasks of one run, for a day and an hour that do not matter."""
    made = {
        "streams": lambda: streams({}, kafka="HOST:PORT", topics=("articles", "events")),
        "hourly": lambda: hourly({}),
        "checks": checks,
        "daily": lambda: daily({}, as_of="DAY"),
        "weekly": lambda: weekly({}),
    }
    return made[run]()


def part() -> list[str]:
    """The generated part of the page: for each run its diagram, and its tasks in order."""
    lines: list[str] = []
    for run, what in RUNS.items():
        tasks = tasks_of(run)
        lines += ["", f"### {run}", "", f"{what[0].upper()}{what[1:]}.", ""]
        if graph := flowchart([task.job.__name__ for task in tasks]):
            lines += ["```mermaid", *graph, "```", ""]
        lines += table(
            ("task", "waits for", "machine"),
            [(f"`{task.key}`", code(task.after), task.machine) for task in tasks],
        )
    return [*lines, ""]


def flowchart(jobs: Iterable[str]) -> list[str]:
    """Mermaid lines: tables that the jobs read, the jobs, and the tables that they write; none where they
    read whatever is there."""
    drawn = [job for job in dict.fromkeys(jobs) if "*" not in FLOWS[job].reads]
    edges = [edge for job in drawn for edge in _edges(job)]
    if not edges:
        return []
    tables = sorted({end for edge in edges for end in edge if end not in FLOWS})
    nodes = [f"  {job}[{job}]:::job" for job in drawn] + [f"  {name}[({name})]" for name in tables]
    return [
        "flowchart LR",
        *nodes,
        *(f"  {begin} --> {end}" for begin, end in edges),
        "  classDef job fill:#0b6a72,color:#fff,stroke:#0b6a72",
    ]


def _edges(job: str) -> Sequence[tuple[str, str]]:
    flow = FLOWS[job]
    # A table that a job both reads and writes is its result: what it reads there is what it has done already.
    read = [(name, job) for name in sorted(set(flow.reads) - set(flow.writes) - BOOKKEEPING)]
    return read + [(job, name) for name in sorted(set(flow.writes) - BOOKKEEPING)]
