"""Exports vectors to Milvus, to Vespa's feed files and to TSV; writes vector_exports, and quarantine for what
cannot be served."""

from newslake.run.cli import main
from newslake.serving.job import export_vectors

if __name__ == "__main__":
    main(export_vectors)
