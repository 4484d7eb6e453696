"""Finds near-identical articles (syndicated copies, updates), and gives those that tell one story one story_id; writes stories."""

from newslake.cli import main
from newslake.ranking.stories import find_stories

if __name__ == "__main__":
    main(find_stories)
