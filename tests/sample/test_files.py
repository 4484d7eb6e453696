"""The generator's folder: same bytes anywhere, finished or made anew, and never over somebody else's
files."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.errors import UserError
from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import defaults_of
from newslake.run.jobrun import JobRun
from newslake.sample import GeneratorSpec, generate, generate_mind
from newslake.sample.files import Files
from newslake.sample.generate import MARK, UNFINISHED, plan
from tests.calling import call

SMALL = GeneratorSpec(
    articles=240, users=60, impressions=260, candidates=8, short_texts=70, rows_per_file=120, seed=7
)

ELSEWHERE = """
import sys
from newslake.sample import GeneratorSpec
from newslake.sample import generate
from newslake.spark.session import spark_session
extra = {"spark.sql.shuffle.partitions": "7", "spark.default.parallelism": "5", "spark.ui.enabled": "false",
         "spark.sql.execution.arrow.maxRecordsPerBatch": "3", "spark.sql.files.maxRecordsPerFile": "11"}
assert generate(spark_session("elsewhere", master="local[1]", extra=extra), sys.argv[1], eval(sys.argv[2]))
"""


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "small"
    assert generate(spark, str(out), SMALL)
    return out


def test_same_names_and_bytes_whatever_the_cores_and_partitions(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(other), repr(SMALL)], check=True, timeout=900)
    assert hashes(other) == hashes(made)


def test_another_seed_makes_other_bytes_under_the_same_names(
    spark: SparkSession, made: Path, tmp_path: Path
) -> None:
    generate(spark, str(tmp_path / "seed"), replace(SMALL, seed=8))
    ours, theirs = hashes(made), hashes(tmp_path / "seed")
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] == theirs[name]} == {"truth/topics.parquet"}


def test_the_folder_holds_what_the_settings_say_and_nothing_else(made: Path) -> None:
    wanted = {name for files in plan(SMALL) for name in files.names()} | {MARK}
    assert hashes(made).keys() == wanted
    assert {"train/behaviors-00000.tsv", "dev/behaviors.tsv", "truth/users.parquet"} <= wanted
    assert json.loads((made / MARK).read_text()) == SMALL.as_dict()


def test_rows_of_a_file_depend_on_the_settings_only() -> None:
    files = Files(
        "train/behaviors",
        "tsv",
        "value string",
        rows=121,
        rows_per_file=60,
        block=50,
        make=lambda start, stop: None,
    )
    assert files.names() == [
        "train/behaviors-00000.tsv",
        "train/behaviors-00001.tsv",
        "train/behaviors-00002.tsv",
    ]
    assert replace(files, rows=60).names() == ["train/behaviors.tsv"]
    assert replace(files, rows=0).names() == ["train/behaviors.tsv"]


def test_a_complete_folder_is_left_alone(spark: SparkSession, made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert not generate(spark, str(made), SMALL)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_an_interrupted_run_is_made_anew_and_the_job_writes_what_the_function_does(
    lake: Lakehouse, run: JobRun, made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(made, out)
    (out / MARK).unlink()
    (out / UNFINISHED).write_text("")
    (out / "train" / "behaviors-00000.tsv").write_text("half a li")
    (out / "train" / "behaviors-00009.tsv").write_text("from other settings")
    (out / "_parts").mkdir()
    options = {name: value for name, value in SMALL.as_dict().items() if name not in ("generator", "format")}
    call(generate_mind, lake, run, out=str(out), **options)
    assert hashes(out) == hashes(made)


def test_other_settings_replace_generated_data(spark: SparkSession, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "other"
    shutil.copytree(made, out)
    tiny = replace(SMALL, impressions=60, short_texts=0, rows_per_file=300, truth=False)
    assert generate(spark, str(out), tiny)
    assert hashes(out).keys() == {name for files in plan(tiny) for name in files.names()} | {MARK}
    assert len((out / "train" / "behaviors.tsv").read_text().splitlines()) == tiny.impressions_of["train"]
    assert (out / "short_texts.jsonl").read_bytes() == b""


@pytest.mark.parametrize("present", ["notes.txt", "train/news.tsv"])
def test_somebody_elses_files_are_not_overwritten(spark: SparkSession, tmp_path: Path, present: str) -> None:
    (tmp_path / present).parent.mkdir(exist_ok=True)
    (tmp_path / present).write_text("mine")
    with pytest.raises(UserError, match="something else than generated data"):
        generate(spark, str(tmp_path), SMALL)
    assert (tmp_path / present).read_text() == "mine"


def test_a_foreign_file_beside_generated_data_is_not_deleted(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).write_text("")
    (tmp_path / "my_model.bin").write_text("mine")
    with pytest.raises(UserError, match=r"my_model\.bin"):
        generate(spark, str(tmp_path), SMALL)
    assert (tmp_path / "my_model.bin").read_text() == "mine"


def test_a_file_as_the_folder_is_the_users_mistake(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file"):
        generate(spark, str(tmp_path / "out"), SMALL)


def test_every_setting_is_an_option_of_the_job() -> None:
    settings = SMALL.as_dict().keys() - {"generator", "format"}
    options = defaults_of(generate_mind)
    del options["out"]
    assert options == {name: GeneratorSpec().as_dict()[name] for name in settings}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"articles": 20}, "articles must be at least 200"),
        ({"mislabelled": 1.5}, "mislabelled is a share"),
        ({"candidates": 500.0}, "candidates must lie between"),
        ({"candidates": 37.0, "articles": 300}, "need at least --articles 740"),
        ({"clicks": 15.0}, "clicks must lie between"),
        ({"first_day": "yesterday"}, "--first-day must be a day"),
    ],
)
def test_settings_out_of_range_are_the_users_mistake(setting: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SMALL, **setting)  # type: ignore[arg-type]
