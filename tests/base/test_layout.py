"""The house's rules, read from the sources themselves: who may import whom, and that jobs hold no logic."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
PACKAGE = PROJECT / "lib" / "newslake"
BASE = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
ROOMS = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
# Everything else that two rooms share, they share as a table.
MAY_USE = {
    "mind": {"intake"},
    "ebnerd": {"intake"},
    "tables": {"intake"},
    "users": {"text", "search", "topics"},
    "training": {"text"},
    "search": {"text"},
    "ranking": {"search", "text", "training"},
    "serving": {"text", "search"},
    "reports": {"search"},
    "checks": {"reports"},
    "streaming": ROOMS,
    "pipeline": ROOMS,
    "reference": ROOMS,
}
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


def rooms_used(path: Path) -> set[str]:
    """Rooms and base modules of newslake that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("newslake.")} & (ROOMS | BASE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(PACKAGE).parts
    room = parts[0] if len(parts) > 1 else None
    allowed = BASE if room is None else BASE | {room} | MAY_USE.get(room, set())
    assert rooms_used(path) <= allowed
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
    if path != PACKAGE / "lakehouse.py":
        assert "delta" not in libraries
    if path.parent.name != "training":
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
    assert path.stem in {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_importing_a_module_starts_nothing(path: Path) -> None:
    # Statements at the top level define things; a call there that does work would run at every import.
    starters = {"spark_session", "getOrCreate", "run_job", "main"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for statement in tree.body if isinstance(statement, ast.Expr | ast.Assign) for node in ast.walk(statement)]
    names = {getattr(node.func, "id", getattr(node.func, "attr", "")) for node in calls if isinstance(node, ast.Call)}
    assert not names & starters


def test_python_is_the_one_that_the_lock_was_made_for() -> None:
    assert sys.version_info[:2] == (3, 11)
