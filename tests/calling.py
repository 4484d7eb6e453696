"""Call a job's function with its options by their own names, as a command line and a settings file give
them."""

from typing import Any

from newslake.lake.lakehouse import Lakehouse
from newslake.run.cli import JobFunction, grouped
from newslake.run.jobrun import JobRun


def call(job: JobFunction, lake: Lakehouse, run: JobRun, **options: Any) -> None:
    """Run a job without a record of it."""
    job(lake, run, **grouped(job, options))
