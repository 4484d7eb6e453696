"""Topics: fitted by Spark ML, given to articles, and joined with their embeddings."""
