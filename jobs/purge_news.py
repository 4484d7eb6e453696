"""Takes old news out of Milvus and the tables, and bounds what grows without end; writes purges and vector_exports."""

from newslake.cli import main
from newslake.pipeline.purge import purge_news

if __name__ == "__main__":
    main(purge_news)
