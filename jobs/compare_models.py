"""Compares recommenders on one split, with confidence intervals; writes model_comparison."""

from newslake.cli import main
from newslake.training.compare import compare_models

if __name__ == "__main__":
    main(compare_models)
