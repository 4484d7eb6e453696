"""The house's rules, read from the sources themselves: who may import whom, and that jobs hold no logic."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
PACKAGE = PROJECT / "lib" / "newslake"
# What everything stands on: each may use those before it, and every room may use all of them.
LAYERS = ("errors", "spark", "lake", "files", "run", "switches")
# Which other rooms a room uses, exactly. Everything else that two rooms share, they share as a table.
USES: dict[str, set[str]] = {
    "intake": set(),
    "sample": set(),
    "text": set(),
    "topics": set(),
    "users": {"intake", "text", "topics"},
    "search": {"text"},
    "training": {"text"},
    "ranking": {"search", "training"},
    "serving": {"search"},
    "reports": set(),
    "checks": {"reports"},
    "streaming": {"intake", "serving", "text", "topics"},
    "pipeline": {
        *(
            "checks",
            "intake",
            "ranking",
            "reports",
            "sample",
            "search",
            "serving",
            "streaming",
            "text",
            "topics",
            "training",
            "users",
        ),
    },
    "reference": {"pipeline"},
}
# The package's way in: jobs as functions, and how a notebook opens a lakehouse.
DOORS = {"jobs", "notebook"}
MODULES = sorted(PACKAGE.rglob("*.py"))
JOBS = sorted((PROJECT / "jobs").glob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def parts(path: Path, depth: int) -> str:
    """The part of the package that a module belongs to: the first names of its own."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts[:depth])


def uses(depth: int) -> dict[str, set[str]]:
    """Each part of the package, to a depth of names, and the other parts that its modules import."""
    found: dict[str, set[str]] = {}
    known = {parts(path, depth) for path in MODULES}
    for path in MODULES:
        if path == PACKAGE / "__init__.py":  # looks its names up when asked for
            continue
        names = {
            ".".join(name.split(".")[1 : depth + 1])
            for name in imported(path)
            if name.startswith("newslake.")
        }
        own = parts(path, depth)
        found.setdefault(own, set()).update((names & known) - {own})
    return found


def test_rooms_use_the_rooms_that_they_may() -> None:
    found = uses(1)
    for place, layer in enumerate(LAYERS):
        assert found.pop(layer) <= set(LAYERS[:place]), layer
    for door in DOORS:
        found.pop(door)
    assert {room: used - set(LAYERS) - DOORS for room, used in found.items()} == USES


def test_no_part_of_a_room_uses_one_that_uses_it() -> None:
    # Raises CycleError, which says where.
    assert list(TopologicalSorter(uses(2)).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_imports_jobs(path: Path) -> None:
    assert not any(name == "jobs" or name.startswith("jobs.") for name in imported(path))


def test_no_job_loads_torch_before_it_knows_what_to_do() -> None:
    # It takes seconds, which --help and a mistyped option need not.
    script = f"""
import runpy, sys
for job in {[str(path) for path in JOBS]}:
    runpy.run_path(job)
    loaded = {{"torch", "transformers"}} & set(sys.modules)
    assert not loaded, (job, loaded)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_file_knows_delta_and_one_knows_petastorm(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(path)}
    if path != PACKAGE / "lake" / "lakehouse.py":
        assert "delta" not in libraries
    if path.parent != PACKAGE / "training" / "data":
        assert "petastorm" not in libraries


def test_petastorm_is_behind_one_module() -> None:
    users = [path for path in MODULES if any(name.split(".")[0] == "petastorm" for name in imported(path))]
    assert len(users) <= 1


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_only_calls_one_function(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "says what the job does"
    kinds = [type(node) for node in tree.body[1:]]
    assert kinds == [ast.ImportFrom, ast.ImportFrom, ast.If]
    assert path.stem in {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_importing_a_module_starts_nothing(path: Path) -> None:
    # Statements at the top level define things; a call there that does work would run at every import.
    starters = {"spark_session", "getOrCreate", "run_job", "main"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [
        node
        for statement in tree.body
        if isinstance(statement, ast.Expr | ast.Assign)
        for node in ast.walk(statement)
    ]
    names = {
        getattr(node.func, "id", getattr(node.func, "attr", ""))
        for node in calls
        if isinstance(node, ast.Call)
    }
    assert not names & starters


def test_python_is_the_one_that_the_lock_was_made_for() -> None:
    assert sys.version_info[:2] == (3, 11)
