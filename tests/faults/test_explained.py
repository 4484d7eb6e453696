"""Which line an exception becomes; the texts are those that Spark, Delta, Java and Python give."""

import errno
from pathlib import Path

import pytest

from newslake.run.faults import explained


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 1, "no space left on the disk"),
        (
            RuntimeError(
                "An error occurred\nCaused by: java.io.IOException: No space left on device\n\tat x"
            ),
            1,
            "no space left",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/lake/_scratch"),
            2,
            "cannot write /data/lake/_scratch: permission denied",
        ),
        (
            RuntimeError(
                "java.io.FileNotFoundException: /lake/news/_delta_log/0.json (Read-only file system)"
            ),
            2,
            "/lake/news/_delta_log/0.json",
        ),
        (
            RuntimeError("[DELTA_CANNOT_CREATE_LOG_PATH] Cannot create file:/lake/job_runs/_delta_log"),
            2,
            "cannot write /lake/job_runs/_delta_log:",
        ),
        (
            RuntimeError("org.apache.hadoop.fs.ChecksumException: Checksum error: file:/lake/a.parquet at 0"),
            1,
            "/lake/a.parquet is damaged",
        ),
        (
            RuntimeError(
                "java.io.IOException: Mkdirs failed to create file:/lake/news (exists=false, cwd=file:/)"
            ),
            2,
            "cannot write /lake/news:",
        ),
        (
            RuntimeError("RuntimeException: file:/lake/news/part-0.snappy.parquet is not a Parquet file."),
            1,
            "/lake/news/part-0.snappy.parquet is damaged",
        ),
        (
            RuntimeError("[FAILED_READ_FILE.FILE_NOT_EXIST] file:///lake/news/part-1.parquet"),
            1,
            "/lake/news/part-1.parquet is gone",
        ),
        (
            RuntimeError(
                "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file"
                " file:///in/my%20day%20ø/a.v1.jsonl.gz.  SQLSTATE: KD001"
            ),
            1,
            (
                "/in/my day ø/a.v1.jsonl.gz is damaged and cannot be read, or is not compressed as its name"
                " says (.gz)"
            ),
        ),
        (
            RuntimeError(
                "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file"
                " file:///my%20lake/news/p.parquet. SQLSTATE: KD001"
            ),
            1,
            "/my lake/news/p.parquet is damaged and cannot be read: put it back",
        ),
        (RuntimeError("[DELTA_CONCURRENT_APPEND] Files were added"), 1, "another run wrote"),
        (RuntimeError("java.lang.OutOfMemoryError: Java heap space"), 1, "spark.driver.memory"),
    ],
)
def test_faults_of_the_world_are_told_in_one_line(error: Exception, status: int, says: str) -> None:
    fault = explained(error)
    assert fault is not None
    assert fault.status == status
    assert says in fault.line
    assert "\n" not in fault.line


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), KeyError("column"), ZeroDivisionError("division by zero")]
)
def test_a_bug_is_no_fault(error: Exception) -> None:
    assert explained(error) is None


def test_the_cause_of_an_exception_counts(tmp_path: Path) -> None:
    outer = RuntimeError("could not write")
    outer.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    fault = explained(outer, [str(tmp_path / "not" / "there" / "yet"), None, "s3a://bucket/lake"])
    assert fault is not None
    assert f"MiB free in {tmp_path}/not/there/yet" in fault.line
    assert "s3a" not in fault.line
