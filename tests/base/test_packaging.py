"""What is installed is whole: schemas and profiles come along, and are found, in a wheel as in an editable install."""

import subprocess
import sys
import zipfile
from pathlib import Path

from newslake.settings import shipped_profiles
from newslake.tablespec import table_names

PROJECT = Path(__file__).parent.parent.parent
ASK = (
    "import newslake.settings as s, newslake.tablespec as t, newslake.session as n;"
    "print(s.__file__); print(*t.table_names()); print(*s.shipped_profiles()); print(len(n.spark_settings('local')) > 5);"
    "from newslake.mind.generator import GeneratorSpec; print(GeneratorSpec.sample().articles);"
    "print(t.table_spec('news').key)"
)


def test_a_wheel_holds_schemas_profiles_and_word_lists(tmp_path: Path) -> None:
    # Built from a copy, so that a build leaves nothing in the checkout.
    source = tmp_path / "source"
    source.mkdir()
    for name in ("lib", "schemas", "conf", "setup.py", "pyproject.toml"):
        subprocess.run(["cp", "-r", str(PROJECT / name), str(source)], check=True)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(build, check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("newslake-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    # -I leaves out the current folder and the user's site; the wheel's content goes before the editable install.
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); {ASK}"
    out = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    assert out[0].startswith(str(tmp_path))
    assert out[1].split() == list(table_names())
    assert out[2].split() == shipped_profiles()
    assert out[3:] == ["True", "2000", "('news_id',)"]


def test_the_sources_hold_every_word_list_and_contract(tmp_path: Path) -> None:
    out = subprocess.run([sys.executable, "-I", "-c", ASK], check=True, capture_output=True, text=True, cwd=tmp_path).stdout.splitlines()
    assert out[1].split() == sorted(path.stem for path in (PROJECT / "schemas").glob("*.sql"))
    assert out[2].split() == sorted(path.stem for path in (PROJECT / "conf").glob("*.yaml"))
