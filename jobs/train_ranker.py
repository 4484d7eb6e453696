"""Trains the newsfeed's ranker on past impressions, judges it on later ones, and promotes it unless it is
worse."""

from newslake.ranking.train import train_ranker
from newslake.run.cli import main

if __name__ == "__main__":
    main(train_ranker)
