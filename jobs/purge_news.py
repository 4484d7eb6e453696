"""Takes old news out of Milvus and the tables, and bounds what grows without end; writes purges and
vector_exports."""

from newslake.pipeline.purge import purge_news
from newslake.run.cli import main

if __name__ == "__main__":
    main(purge_news)
