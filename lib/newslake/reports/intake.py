"""What is in the lakehouse, and what was set aside: sizes of the tables, and quarantine by reason."""

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import table_names, table_spec

_REASONS = 12
_RAW_BYTES = 220


@dataclass(frozen=True)
class Reason:
    """Why inputs of one job were rejected, with one of them."""

    job: str
    reason: str
    rows: int
    share: float  # of the commonest
    sources: int
    example: str
    source: str


@dataclass(frozen=True)
class Quarantine:
    """What was set aside."""

    rows: int
    reasons: list[Reason]
    others: int  # reasons that are not shown
    other_rows: int


@dataclass(frozen=True)
class Table:
    """One table: rows, and what a row is."""

    name: str
    rows: int
    written_by: str


def by_reason(quarantine: DataFrame) -> DataFrame:
    """job, reason, rows, sources, and one example (the smallest quarantine_id): its source and the first
    bytes of what came."""
    first = F.min_by(F.struct("source", F.substring("raw", 1, _RAW_BYTES).alias("raw")), "quarantine_id")
    grouped = quarantine.groupBy("job", "reason")
    counted = grouped.agg(
        F.count("*").alias("rows"), F.countDistinct("source").alias("sources"), first.alias("example")
    )
    return counted.orderBy(F.desc("rows"), "job", "reason")


def gather_quarantine(lake: Lakehouse) -> Quarantine | None:
    """Quarantine by reason; None where nothing was set aside."""
    counted = by_reason(lake.read("quarantine"))
    whole = counted.agg(F.sum("rows"), F.count("*")).head()
    if whole is None or not whole[0]:
        return None
    rows = counted.limit(_REASONS).collect()
    reasons = [
        Reason(
            job=row["job"],
            reason=row["reason"],
            rows=row["rows"],
            share=row["rows"] / rows[0]["rows"],
            sources=row["sources"],
            example=_as_text(row["example"]["raw"]),
            source=row["example"]["source"].rsplit("/", 1)[-1],
        )
        for row in rows
    ]
    return Quarantine(whole[0], reasons, whole[1] - len(rows), whole[0] - sum(row["rows"] for row in rows))


def gather_tables(lake: Lakehouse) -> list[Table]:
    """Every table that is there with its rows, counted in one go."""
    there = [name for name in table_names() if lake.exists(name)]
    if not there:
        return []
    counts = [
        lake.read(name).agg(F.count("*").alias("rows")).select(F.lit(name).alias("name"), "rows")
        for name in there
    ]
    rows = {row["name"]: row["rows"] for row in reduce(DataFrame.unionAll, counts).collect()}
    return [Table(name, rows[name], table_spec(name).written_by) for name in there]


def _as_text(raw: bytearray | None) -> str:
    return bytes(raw or b"").decode("utf-8", errors="replace")
