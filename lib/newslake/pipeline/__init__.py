"""Runs of several jobs in order, in one Spark session."""
