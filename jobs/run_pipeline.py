"""Run every job on the built-in sample, in order and in one session; writes all tables."""

from newslake.cli import main
from newslake.pipeline.sample import run_pipeline

if __name__ == "__main__":
    main(run_pipeline)
