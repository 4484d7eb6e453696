"""The report: what the tables say, on one page."""
