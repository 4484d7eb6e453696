"""Encodes the articles that have no vector yet; writes article_embeddings, and quarantine for what cannot be
encoded."""

from newslake.run.cli import main
from newslake.text.articles import encode_articles

if __name__ == "__main__":
    main(encode_articles)
