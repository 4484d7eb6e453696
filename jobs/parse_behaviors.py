"""Read MIND's files into the tables news, impressions and click_history; what cannot be used goes to
quarantine."""

from newslake.intake.sources.mind.parse import parse_behaviors
from newslake.run.cli import main

if __name__ == "__main__":
    main(parse_behaviors)
