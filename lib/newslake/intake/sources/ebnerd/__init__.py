"""EB-NeRD's files: articles, behaviors and history as Parquet."""
