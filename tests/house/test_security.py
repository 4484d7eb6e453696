"""What comes from outside runs nothing, leaves no folder, and no credential is told."""

import ast
from pathlib import Path

import pytest

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun, first_line
from newslake.spark.frames import frame_of

PACKAGE = Path(__file__).parent.parent.parent / "lib" / "newslake"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Calls that run what they read; each with the keyword, if any, that stops it from doing so.
RUNS_WHAT_IT_READS = {
    "pickle.load": None,
    "pickle.loads": None,
    "pandas.read_pickle": None,
    "joblib.load": None,
    "yaml.load": None,
    "yaml.unsafe_load": None,
    "eval": None,
    "exec": None,
    "os.system": None,
    "torch.load": ("weights_only", True),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_that_is_read_is_run(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        given = {
            keyword.arg: keyword.value.value
            for keyword in node.keywords
            if isinstance(keyword.value, ast.Constant)
        }
        name = ast.unparse(node.func)
        if name in RUNS_WHAT_IT_READS:
            stops = RUNS_WHAT_IT_READS[name] or ("nothing", True)
            assert given.get(stops[0]) == stops[1], f"{path}:{node.lineno}: {name}"
        assert not given.get("trust_remote_code"), f"{path}:{node.lineno}"
        assert not given.get("shell"), f"{path}:{node.lineno}"
        if name.endswith(".from_pretrained") and name.startswith("Auto"):
            assert given.get("trust_remote_code") is False, f"{path}:{node.lineno}: says so"


def test_names_with_quotes_and_values_with_paths_stay_where_they_belong(
    lake: Lakehouse, tmp_path: Path
) -> None:
    odd = Lakehouse(lake.spark, f"{tmp_path}/la`ke 'h\"ouse; DROP TABLE x --")
    rows = frame_of(
        lake.spark,
        [("../../outside", "/etc/passwd", "../../../outside", [1.0]), ("U'; --", "m`", "r\\", [2.0])],
        "user_id string, model string, run_id string, embedding array<float>",
    )
    assert odd.merge("user_embeddings", rows).inserted == 2
    assert odd.merge("user_embeddings", rows).rows == 0
    assert odd.delete("user_embeddings", "run_id = 'r\\\\'") == 1
    assert odd.replace("user_embeddings", rows.where("model = 'm`'"), where={"model": "m`"}).rows == 1
    assert odd.remove("user_embeddings", rows.where("model = 'm`'").select("user_id")) == 1
    assert [row.model for row in odd.read("user_embeddings").collect()] == ["/etc/passwd"]
    # The partition's folder has the value's slashes escaped.
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.parquet")} == {
        Path(str(odd.root)).name
    }
    assert {path.name for path in tmp_path.iterdir()} == {Path(str(odd.root)).name}


def test_no_credential_is_told() -> None:
    run = JobRun(
        "export_vectors",
        {
            "token": "root:hidden",
            "milvus_token": "hidden",
            "uri": "https://root:hidden@milvus:19530?token=hidden",
        },
    )
    assert "hidden" not in str(run.settings)
    assert run.settings["token"] == "***"
    assert "hidden" not in first_line(ValueError("cannot reach https://root:hidden@milvus:19530"))
