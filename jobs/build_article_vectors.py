"""Joins each article's embedding with the vector of its topics; writes article_vectors."""

from newslake.run.cli import main
from newslake.topics.article_vectors import build_article_vectors

if __name__ == "__main__":
    main(build_article_vectors)
