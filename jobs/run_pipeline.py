"""Run a pipeline in one Spark session: every job on the built-in sample, or the hourly, daily or weekly
run."""

from newslake.pipeline.run import run_pipeline
from newslake.run.cli import main

if __name__ == "__main__":
    main(run_pipeline)
