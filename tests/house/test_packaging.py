"""What is installed is whole: schemas and settings files come along in a wheel and in an editable
install."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from newslake.lake.tablespec import table_names
from newslake.run.settings import shipped_settings_files

PROJECT = Path(__file__).parent.parent.parent
ASK = (
    "import newslake.run.settings as s, newslake.lake.tablespec as t, newslake.spark.session as"
    " n;print(s.__file__); print(*t.table_names()); print(*s.shipped_settings_files());"
    " print(len(n.spark_settings('local')) > 5);from newslake.sample import GeneratorSpec;"
    " print(GeneratorSpec().articles);print(t.table_spec('news').key)"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that a build leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("lib", "schemas", "conf", "setup.py", "pyproject.toml"):
        subprocess.run(["cp", "-r", str(PROJECT / name), str(source)], check=True)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, cwd=folder)
    [built] = folder.glob("newslake-*.whl")
    return built


def needs(requirements: Iterable[str], extra: str = "") -> list[Requirement]:
    """Those of the requirements that hold here and belong to no extra but the given one."""
    parsed = [Requirement(text) for text in requirements]
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})]


def resolved(declared: Sequence[str], extra: str = "") -> dict[str, list[Requirement]]:
    """All that pip would install, by the metadata of what is installed here: each package, and what is asked
    of it."""
    ahead, seen = needs(declared, extra), dict[str, list[Requirement]]()
    while ahead:
        one = ahead.pop()
        key = canonicalize_name(one.name)
        if key not in seen:
            told = metadata.requires(one.name) or []
            ahead += [needed for name in ("", *one.extras) for needed in needs(told, name)]
        seen.setdefault(key, []).append(one)
    return seen


def test_the_wheel_leaves_the_spark_of_a_cluster_alone(wheel: Path) -> None:
    """No Spark and no Delta comes along, not even by something else: a runtime's own stays, and a session of
    Databricks serverless goes on. Where training is asked for, any Spark will do."""
    inside = zipfile.ZipFile(wheel)
    [name] = [name for name in inside.namelist() if name.endswith(".dist-info/METADATA")]
    declared = message_from_string(inside.read(name).decode()).get_all("Requires-Dist") or []
    own, seen, remote = (resolved(declared, extra) for extra in ("", "training", "connect"))
    assert {"pyarrow", "torch", "numpy"} <= set(own)
    for found in (own, remote):
        assert not {"pyspark", "pyspark-client", "delta-spark", "petastorm"} & set(found)
    assert {"grpcio", "grpcio-status", "zstandard"} <= set(remote)
    assert "petastorm" in seen
    assert "delta-spark" not in seen
    # Petastorm names Spark; it takes that of Databricks runtime 17.3 and 4.2 alike.
    assert all(one.specifier.contains(version) for one in seen["pyspark"] for version in ("4.0.0", "4.2.0"))
    with_spark = {Requirement(text).name for text in declared if 'extra == "spark"' in text}
    assert with_spark == {"pyspark", "delta-spark"}


def test_a_wheel_holds_schemas_settings_files_and_word_lists(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    # -I leaves out the current folder and the user's site; the wheel's content goes before the editable
    # install.
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); {ASK}"
    out = subprocess.run(
        [sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.splitlines()
    assert out[0].startswith(str(tmp_path))
    assert out[1].split() == list(table_names())
    assert out[2].split() == shipped_settings_files()
    assert out[3:] == ["True", "2000", "('news_id',)"]


def test_the_sources_hold_every_word_list_and_contract(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-I", "-c", ASK], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.splitlines()
    assert out[1].split() == sorted(path.stem for path in (PROJECT / "schemas").glob("*.sql"))
    assert out[2].split() == sorted(path.stem for path in (PROJECT / "conf").glob("*.yaml"))
