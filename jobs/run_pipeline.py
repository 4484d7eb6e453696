"""Run a pipeline in one Spark session: the built-in sample, or the hourly, daily or weekly run."""

from newslake.pipeline.run import run_pipeline
from newslake.run.cli import main

if __name__ == "__main__":
    main(run_pipeline)
