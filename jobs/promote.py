"""Brings a trained ranker or recommender into use, or goes back to the one before, in table promotions."""

from newslake.run.cli import main
from newslake.switches.promotions import promote

if __name__ == "__main__":
    main(promote)
