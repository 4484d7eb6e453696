"""Which of several lines of one key is used, whatever the tables hold already."""

import pytest
from pyspark.sql import SparkSession

from newslake.intake.verdicts import CONFLICT, DUPLICATE, USE, verdicts
from newslake.spark.frames import frame_of

COLUMNS = (
    "split string, path string, block bigint, row bigint, key string, content bigint, stored boolean, matches"
    " boolean"
)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # (split, row, content, whether it says what the tables say: None where they hold nothing)
        ([("train", 0, 7, None), ("train", 1, 7, None), ("train", 2, 8, None)], [USE, DUPLICATE, CONFLICT]),
        ([("dev", 0, 8, None), ("train", 5, 7, None)], [CONFLICT, USE]),
        ([("train", 0, 8, False), ("train", 1, 7, True)], [CONFLICT, USE]),
        ([("train", 0, 8, False), ("train", 1, 8, False)], [CONFLICT, CONFLICT]),
        # They differ in what the tables do not hold: as before the first was written.
        ([("train", 0, 7, True), ("train", 1, 8, True), ("train", 2, 7, True)], [USE, CONFLICT, DUPLICATE]),
    ],
)
def test_the_first_counts_and_what_is_stored_before_it(
    spark: SparkSession, lines: list[tuple[str, int, int, bool | None]], expected: list[str]
) -> None:
    rows = [
        (split, "f", 0, row, "k", content, same is not None, bool(same))
        for split, row, content, same in lines
    ]
    found = {
        (row["split"], row["row"]): row["outcome"]
        for row in verdicts(frame_of(spark, rows, COLUMNS)).collect()
    }
    assert [found[split, row] for split, row, *_ in lines] == expected
