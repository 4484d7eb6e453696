"""Bring rows that lie in Parquet, in Delta or behind an SQL query into one of newslake's tables, by a mapping of columns."""

from newslake.cli import main
from newslake.tables.importing import import_table

if __name__ == "__main__":
    main(import_table)
