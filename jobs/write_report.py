"""Writes one HTML file on what the tables hold, for people to look at, and prints its path."""

from newslake.reports.report import write_report
from newslake.run.cli import main

if __name__ == "__main__":
    main(write_report)
