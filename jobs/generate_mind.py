"""Generate a data set in MIND's format with its truth, below --out; of the tables only job_runs is written."""

from newslake.cli import main
from newslake.mind.generator import generate_mind

if __name__ == "__main__":
    main(generate_mind)
