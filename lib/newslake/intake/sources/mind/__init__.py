"""MIND's files: news.tsv and behaviors.tsv."""
