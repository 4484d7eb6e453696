"""Rejected input: what every reader sends to the table quarantine."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def rejected(rows: DataFrame, *, job: str) -> DataFrame:
    """Rejected inputs as rows of the table quarantine.

    Args:
        rows: columns source, line_number, record_id, raw (binary), reason, ingested_at; line_number, record_id and raw may be NULL.
        job: the job that rejects them.

    Returns:
        The columns of schemas/quarantine.sql. quarantine_id is a hash of the rest, ingested_at left out, so that merging
        the same rejection again adds nothing.
    """
    # to_json keeps NULL apart from the empty string, and escapes whatever could make two different rows look alike.
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
