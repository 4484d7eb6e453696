"""Benchmarks that people run on data of their own."""
