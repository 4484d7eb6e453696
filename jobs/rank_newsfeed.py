"""Writes each user's newsfeed for an hour to newsfeed, and the articles' click-through rates to
article_ctr."""

from newslake.ranking.newsfeed import rank_newsfeed
from newslake.run.cli import main

if __name__ == "__main__":
    main(rank_newsfeed)
