"""Rejected input: what every reader sends to the table quarantine."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.run.jobrun import JobRun
from newslake.spark.frames import Frames

TABLE = "quarantine"
_REASONS = 20


def rejected(rows: DataFrame, *, job: str) -> DataFrame:
    """Rejected inputs as rows of the table quarantine.

    Args:
        rows: columns source, line_number, record_id, raw (binary), reason, ingested_at; line_number,
            record_id and raw may be NULL.
        job: the job that rejects them.

    Returns:
        The columns of schemas/quarantine.sql. quarantine_id is a hash of the rest, ingested_at left out, so
            that merging
        the same rejection again adds nothing.
    """
    # to_json keeps NULL apart from the empty string, and escapes whatever could make two different rows look
    # alike.
    identity = F.to_json(
        F.struct(
            F.lit(job).alias("job"),
            "source",
            F.col("line_number").cast("bigint").alias("line_number"),
            "record_id",
            "reason",
            F.sha2("raw", 256).alias("raw"),
        )
    )
    return rows.select(
        F.sha2(identity, 256).alias("quarantine_id"),
        F.lit(job).alias("job"),
        "source",
        F.col("line_number").cast("bigint").alias("line_number"),
        F.col("record_id").cast("string").alias("record_id"),
        F.col("raw").cast("binary").alias("raw"),
        "reason",
        "ingested_at",
    )


def rows_of(
    rows: DataFrame, source: str | Column, *, record_id: Column, raw: Column, reason: Column
) -> DataFrame:
    """Rejected rows of a table (not lines of a file) as `rejected` takes them.

    Args:
        rows: what was rejected.
        source: the table's name.
        record_id: its key.
        raw: what is kept of it; a string or binary.
        reason: why.
    """
    return rows.select(
        F.concat(F.lit("table "), F.lit(source) if isinstance(source, str) else source).alias("source"),
        F.lit(None).cast("bigint").alias("line_number"),
        record_id.alias("record_id"),
        raw.cast("binary").alias("raw"),
        reason.alias("reason"),
        F.current_timestamp().alias("ingested_at"),
    )


def commonest(rows: DataFrame, reason: str) -> dict[str, int]:
    """The most frequent reasons in a column, and how often each is there; NULLs do not count."""
    counted = (
        rows.where(F.col(reason).isNotNull())
        .groupBy(F.col(reason).alias("reason"))
        .agg(F.count("*").alias("times"))
    )
    return {
        row["reason"]: row["times"]
        for row in counted.orderBy(F.desc("times"), "reason").limit(_REASONS).collect()
    }


def nothing_usable(what: str, lines: int, reasons: Mapping[str, int]) -> str:
    """What to tell where none of the lines could be used.

    Args:
        what: they are, such as `line of behaviors`.
        lines: how many there were.
        reasons: from `commonest`.
    """
    reason, times = max(reasons.items(), key=lambda pair: pair[1])
    why = f"because: {reason}" if times == lines else f"most of them ({times:,}) because: {reason}"
    return f"no {what} could be used: all {lines:,} are in quarantine, {why}"


def send(lake: Lakehouse, run: JobRun, rows: DataFrame, *, job: str) -> int:
    """Put rejected inputs into the table, once each whatever a rerun sends again, and count them in the run.

    Args:
        lake: where the table lives.
        run: the run that rejects them.
        rows: as `rejected` takes them.
        job: the job that rejects them, which is part of what tells two rejections apart.

    Returns:
        How many there are.
    """
    with Frames() as frames:
        found = frames.keep(rejected(rows, job=job))
        count = found.count()
        if count:
            lake.merge(TABLE, found.dropDuplicates(["quarantine_id"]), update=False)
            run.quarantined(count)
    return count
