"""Messages of the streams: their columns, and what of a rejected one is kept."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from newslake.intake.jsonlines import Field, also, parsed

__all__ = ["ARRIVAL", "Field", "also", "as_rejected", "parsed"]
ARRIVAL = ("source", "place", "raw", "arrived_at")


def as_rejected(rows: DataFrame, record_id: Column, reason: Column | None = None) -> DataFrame:
    """Messages as quarantine.rejected takes them."""
    return rows.select(
        "source",
        F.col("place").alias("line_number"),
        record_id.alias("record_id"),
        "raw",
        (F.col("problem") if reason is None else reason).alias("reason"),
        F.col("arrived_at").alias("ingested_at"),
    )
