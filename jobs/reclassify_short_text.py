"""Corrects the class of short texts by the vote of their nearest long articles; writes short_text_votes and
short_text_corpus."""

from newslake.run.cli import main
from newslake.search.reclassify import reclassify_short_text

if __name__ == "__main__":
    main(reclassify_short_text)
