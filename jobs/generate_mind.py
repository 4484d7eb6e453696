"""Generate a data set in MIND's format with its truth, below --out; of the tables only job_runs is
written."""

from newslake.run.cli import main
from newslake.sample import generate_mind

if __name__ == "__main__":
    main(generate_mind)
