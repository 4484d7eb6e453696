"""Compares recommenders on one split, with confidence intervals; writes model_comparison."""

from newslake.run.cli import main
from newslake.training.judging.compare import compare_models

if __name__ == "__main__":
    main(compare_models)
