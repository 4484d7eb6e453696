"""Reads articles from Kafka or JSON lines as they come; writes news, article_embeddings, article_topics,
article_vectors, and Milvus."""

from newslake.run.cli import main
from newslake.streaming.articles import stream_articles

if __name__ == "__main__":
    main(stream_articles)
