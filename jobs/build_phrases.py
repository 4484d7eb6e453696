"""Makes the users' tag phrases of a day; writes user_phrases and tag_embeddings, and quarantine."""

from newslake.run.cli import main
from newslake.users.phrases import build_phrases

if __name__ == "__main__":
    main(build_phrases)
