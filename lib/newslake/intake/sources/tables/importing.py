"""The job import_table: rows that lie in Parquet, in Delta or behind a query -> one of newslake's tables, by
a mapping of columns."""

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from newslake.errors import JobFailed, UserError
from newslake.files.inputs import looking, reason
from newslake.files.paths import exactly
from newslake.files.systems import exists
from newslake.intake.articles import content_hash
from newslake.intake.sources.tables.judge import (
    OLDER,
    Judged,
    broken_things,
    completed,
    judge,
    repeated_keys,
    with_problem,
)
from newslake.intake.sources.tables.mapping import RAW, first_sentence, mapped, read_mapping
from newslake.intake.sources.tables.targets import TARGETS, Name, Target
from newslake.intake.stock import Stock, take_stock
from newslake.lake.lakehouse import Lakehouse
from newslake.lake.tablespec import TableSpec, table_spec
from newslake.run.jobrun import JobRun
from newslake.run.quarantine import commonest, nothing_usable, send
from newslake.spark.frames import Frames

_DATA_EXCEPTION = "22"  # of SQL: a value that cannot be cast, a division by zero
_SHOWN = 200  # characters of a query that name it in quarantine


def import_table(
    lake: Lakehouse,
    run: JobRun,
    *,
    target: Name,
    mapping: str,
    source: str | None = None,
    query: str | None = None,
) -> None:
    """Bring rows that you have already, in Parquet, in Delta or behind an SQL query, into one of newslake's
    tables.

    The mapping is a YAML file with a line `column of the table: column of yours` for each column, or an SQL
    expression in place of yours, such as `clicked: clicks > 0`. It is checked as a whole before anything is
    read. docs/own_tables.md has one for each table.

    Rows are added or updated by the table's key, never removed: importing the same again changes nothing, and
    what the mapping leaves out stays as it is in a row that is there. Rows that break the table's rules go to
    the table quarantine with their reason; of an impression with such a row, none is used. Where no row could
    be used, the job fails.

    Args:
        target: The table.
        mapping: File that says what each of its columns is made of.
        source: Folder or file with Parquet, or the folder of a Delta table; any URI that Spark reads.
        query: One SELECT, in place of --source; it may read tables of a catalog, or files: SELECT * FROM
            csv.`/data/articles.csv`.
    """
    if (source is None) == (query is None):
        raise UserError("say where the rows are: either --source PATH or --query SQL")
    of = TARGETS[target]
    spec = table_spec(of.table)
    rows = _of_query(lake, query) if query is not None else _of_path(lake, source or "")
    made = mapped(rows, read_mapping(mapping), of, mapping)
    parsed = with_problem(with_defaults(made.rows, of, spec), of, spec)
    with Frames() as frames:
        stock = _stock(parsed, spec, mapping)
        is_new = lake.create(of.table)
        lake.create("quarantine")
        run.rows_in(stock.lines)
        run.progress(f"{stock.lines:,} rows, {stock.unusable:,} of them unusable")
        repeated = frames.keep(repeated_keys(parsed, spec.key)) if stock.repeated_keys else None
        broken = frames.keep(broken_things(parsed, of, spec, repeated)) if of.together else None
        if broken is not None and broken.isEmpty():
            broken = None
        judged = judge(parsed, of, spec, repeated, broken)
        rejected = 0
        if stock.unusable or repeated is not None or broken is not None:
            rejected = send(lake, run, _as_rejected(judged.rejected, _name(source, query), spec), job=run.job)
        set_aside = _count_set_aside(run, judged) if repeated is not None else 0
        run.fact("rows used", stock.lines - rejected - set_aside)
        stored = None if is_new else lake.read(of.table)
        table_rows = completed(judged.used, stored, of, spec, made.named)
        if "content_hash" in of.computed:
            table_rows = table_rows.withColumn("content_hash", content_hash())
        written = lake.merge(of.table, table_rows)
        run.wrote(of.table, written.rows)
        run.progress(f"{written.inserted:,} rows new in {of.table}, {written.updated:,} changed")
        if stock.lines and rejected == stock.lines:
            raise JobFailed(nothing_usable("row", stock.lines, commonest(judged.rejected, "reason")))


def with_defaults(rows: DataFrame, target: Target, spec: TableSpec) -> DataFrame:
    """Add the columns that the mapping leaves out and that have a default; all are worked out from those that
    it names."""
    kinds = {one.name: one.dataType for one in spec.schema()}
    missing = {
        name: F.expr(text).cast(kinds[name])
        for name, text in target.defaults.items()
        if name not in rows.columns
    }
    return rows.withColumns(missing) if missing else rows


def _of_path(lake: Lakehouse, path: str) -> DataFrame:
    place = path.rstrip("/")
    if not exists(lake.spark, place):
        raise UserError(f"--source {path}: there is no such file or folder")
    with looking("--source", path):
        if exists(lake.spark, f"{place}/_delta_log"):
            return lake.spark.read.format("delta").load(place)
        return lake.spark.read.parquet(exactly(place))


def _of_query(lake: Lakehouse, query: str) -> DataFrame:
    # As a subquery, so that nothing but a SELECT goes; on lines of its own, as a query may end in a comment.
    try:
        return lake.spark.sql(f"SELECT * FROM (\n{query.strip().rstrip(';')}\n)")
    except PySparkException as error:
        raise UserError(f"--query is not a SELECT that Spark can run: {reason(error)}") from None


def _name(source: str | None, query: str | None) -> str:
    return f"query: {' '.join(query.split())[:_SHOWN]}" if query is not None else str(source)


def _stock(parsed: DataFrame, spec: TableSpec, mapping: str) -> Stock:
    """A first look at all rows, in which every expression of the mapping is worked out."""
    rows = parsed if "split" in parsed.columns else parsed.withColumn("split", F.lit(""))
    try:
        return sum(take_stock(rows, spec.key).values(), Stock())
    except PySparkException as error:
        if not (error.getSqlState() or "").startswith(_DATA_EXCEPTION):
            raise
        instead = "write try_cast, try_divide or another that gives NULL then"
        raise UserError(
            f"--mapping {mapping}: an expression fails on some row: {first_sentence(error)}; {instead}"
        ) from None


def _count_set_aside(run: JobRun, judged: Judged) -> int:
    counted = {row["outcome"]: row["count"] for row in judged.set_aside.groupBy("outcome").count().collect()}
    older = counted.pop(OLDER, 0)
    run.fact("rows that are exact duplicates", sum(counted.values()))
    if older:
        run.fact("rows that are older versions", older)
    return older + sum(counted.values())


def _as_rejected(rows: DataFrame, source: str, spec: TableSpec) -> DataFrame:
    return rows.select(
        F.lit(source).alias("source"),
        F.lit(None).cast("bigint").alias("line_number"),
        F.concat_ws("/", *(F.col(name).cast("string") for name in spec.key)).alias("record_id"),
        F.col(RAW).cast("binary").alias("raw"),
        "reason",
        F.current_timestamp().alias("ingested_at"),
    )
