"""Put into tables what tests start from: into a new one without looking for what is there already, a third of
what a merge takes."""

from pyspark.sql import DataFrame

from newslake.lake.lakehouse import Lakehouse


def put(lake: Lakehouse, table: str, rows: DataFrame) -> None:
    """Merge rows into a table by its key; the table is made, as jobs make it, if it is not there.

    Args:
        lake: tables under a folder.
        table: its name.
        rows: the contract's columns; no key twice.
    """
    if lake.create(table):
        rows.select(*lake.schema(table).names).write.format("delta").mode("append").save(
            f"{lake.root}/{table}"
        )
    else:
        lake.merge(table, rows)
