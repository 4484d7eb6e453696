"""Read MIND's files into the tables news, impressions and click_history; what cannot be used goes to quarantine."""

from newslake.cli import main
from newslake.mind.parse import parse_behaviors

if __name__ == "__main__":
    main(parse_behaviors)
