"""Gives every new article its two most relevant topics, by a model fitted before; writes article_topics."""

from newslake.run.cli import main
from newslake.topics.assign import assign_topics

if __name__ == "__main__":
    main(assign_topics)
