"""Gives the tag phrases of a day their vectors; writes tag_phrases and tag_phrase_matches, and quarantine."""

from newslake.run.cli import main
from newslake.users.encode import encode_tag_phrases

if __name__ == "__main__":
    main(encode_tag_phrases)
