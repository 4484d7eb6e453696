"""Opens a lakehouse where there is no command line: in a notebook or a script."""

from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import LogLevel, lakehouse_at, set_logging, use_utc
from newslake.spark.session import quiet, spark_session


def open_lakehouse(
    place: str | None = None,
    *,
    catalog: str | None = None,
    schema: str | None = None,
    work_folder: str | None = None,
    log_level: LogLevel = "info",
) -> Lakehouse:
    """The tables at a place, in the Spark session that runs, or else in a new one.

    The process's clock is set to UTC, as for every job: Python would else turn Spark's timestamps into local
    time.

    Args:
        place: folder or URI that holds the tables (default: ./lakehouse, unless a schema is given).
        catalog, schema: of the tables, where they are names in a metastore or Unity Catalog.
        work_folder: folder or URI for what jobs keep beside the tables (default: the place itself).
        log_level: how much jobs say on stderr.

    Raises:
        UserError: both a place and a schema are given, or a catalog without a schema.
    """
    use_utc()
    set_logging(log_level)
    spark = spark_session("newslake")
    quiet(spark)
    return lakehouse_at(spark, place, catalog, schema, work_folder)
