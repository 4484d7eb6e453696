"""Trains the newsfeed's ranker on past impressions, judges it on later ones, and promotes it unless it is worse."""

from newslake.cli import main
from newslake.ranking.train import train_ranker

if __name__ == "__main__":
    main(train_ranker)
