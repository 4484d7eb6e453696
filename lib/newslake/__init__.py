"""newslake: Spark jobs that turn news articles and reading behaviour into vectors, recommendations and clean labels."""
