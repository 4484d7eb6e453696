"""Vectors on their way out: Milvus collections, Vespa feeds, the tutorial's TSV files."""
