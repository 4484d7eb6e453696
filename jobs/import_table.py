"""Bring rows that lie in Parquet, in Delta or behind an SQL query into one of newslake's tables, by a mapping
of columns."""

from newslake.intake.sources.tables.importing import import_table
from newslake.run.cli import main

if __name__ == "__main__":
    main(import_table)
