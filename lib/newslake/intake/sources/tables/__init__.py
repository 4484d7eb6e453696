"""Tables that people have already: Parquet, Delta or a query, by a mapping of columns."""
