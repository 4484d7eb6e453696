"""A full disk, and a disk that may only be read: what the user sees, and that the rerun completes once it is
mended."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from newslake.lake.lakehouse import Lakehouse
from tests.faults.common import disk, import_texts, remount, texts


@pytest.fixture
def here(spark: SparkSession, tmp_path: Path) -> Lakehouse:
    """A lakehouse on a disk that a test mounts."""
    return Lakehouse(spark, str(tmp_path / "disk" / "lakehouse"))


def test_a_full_disk_is_one_line_and_the_rerun_completes(
    here: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = texts(tmp_path / "few.jsonl", 5), texts(tmp_path / "many.jsonl", 3_000, words=600)
    with disk(tmp_path / "disk", "1m"):
        assert import_texts(here, few, capsys) == (0, [])
        status, said = import_texts(here, many, capsys)
        assert status == 1
        [line] = said
        assert line.startswith("import_labels: failed: no space left on the disk (")
        assert f"MiB free in {here.root}" in line
        assert "run again" in line
        assert here.read("news").count() == 5, "the table is as it was before the failed write"
        remount(tmp_path / "disk", "size=64m")
        assert import_texts(here, many, capsys) == (0, [])
        assert here.read("news").select("news_id").distinct().count() == here.read("news").count() == 3_000


def test_a_disk_that_may_only_be_read_is_the_users_to_mend(
    here: Lakehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = texts(tmp_path / "first.jsonl", 5), texts(tmp_path / "second.jsonl", 9)
    with disk(tmp_path / "disk", "16m"):
        import_texts(here, first, capsys)
        remount(tmp_path / "disk", "ro")
        status, said = import_texts(here, second, capsys)
        assert status == 2
        [line] = said
        assert line.startswith("import_labels: cannot write ")
        assert "the file system is read-only" in line
        assert str(tmp_path / "disk") in line
        assert here.read("news").count() == 5, "reading goes on"
        remount(tmp_path / "disk", "rw")
        assert import_texts(here, second, capsys) == (0, [])
        assert here.read("news").count() == 9
