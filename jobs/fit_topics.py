"""Fits topics on the articles of news, as a new version; writes topics and topic_terms."""

from newslake.run.cli import main
from newslake.topics.fit import fit_topics

if __name__ == "__main__":
    main(fit_topics)
