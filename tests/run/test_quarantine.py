"""Rejected input keeps its bytes, and rejecting it again adds nothing."""

from datetime import datetime

from pyspark.sql import DataFrame

from newslake.lake.lakehouse import Lakehouse, Written
from newslake.run.quarantine import rejected
from newslake.spark.frames import frame_of

COLUMNS = "source string, line_number int, record_id string, raw binary, reason string, ingested_at timestamp"
WHEN = datetime(2026, 1, 2, 3, 4, 5)


def rejections(
    lake: Lakehouse, *rows: tuple[str | None, int | None, str | None, bytes | None, str]
) -> DataFrame:
    return rejected(frame_of(lake.spark, [(*row, WHEN) for row in rows], COLUMNS), job="test_job")


def test_bytes_are_kept_as_they_came(lake: Lakehouse) -> None:
    raw = b"N1\tb\xff\x00d\r"
    lake.merge("quarantine", rejections(lake, ("file", 7, None, raw, "invalid UTF-8")), update=False)
    row = lake.read("quarantine").head()
    assert row is not None
    assert (bytes(row.raw), row.line_number, row.source, row.job, row.ingested_at) == (
        raw,
        7,
        "file",
        "test_job",
        WHEN,
    )


def test_the_same_rejection_again_adds_nothing(lake: Lakehouse) -> None:
    rows = rejections(lake, ("file", 1, None, b"x", "why"), ("table", None, "N1", None, "why"))
    assert lake.merge("quarantine", rows, update=False) == Written(inserted=2)
    assert lake.merge("quarantine", rows, update=False) == Written()


def test_rejections_that_differ_in_anything_are_all_kept(lake: Lakehouse) -> None:
    rows = rejections(
        lake,
        ("file", 1, None, b"x", "why"),
        ("file", 2, None, b"x", "why"),
        ("file", 1, None, b"y", "why"),
        ("file", 1, None, b"", "why"),
        ("file", 1, None, None, "why"),
        ("file", 1, "", b"x", "why"),
        ("file", None, None, b"x", "why"),
        ("file", 1, None, b"x", "because"),
        ("file2", 1, None, b"x", "why"),
    )
    assert rows.select("quarantine_id").distinct().count() == 9
