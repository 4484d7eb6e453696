"""Brings a trained ranker or recommender into use, or goes back to the one before, in table promotions."""

from newslake.cli import main
from newslake.promotions import promote

if __name__ == "__main__":
    main(promote)
