"""Finds near-identical articles (syndicated copies, updates), and gives those that tell one story one
story_id; writes stories."""

from newslake.ranking.stories import find_stories
from newslake.run.cli import main

if __name__ == "__main__":
    main(find_stories)
