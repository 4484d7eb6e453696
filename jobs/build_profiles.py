"""Brings the users' profiles to a day; writes user_tags, user_topics and user_articles, and quarantine."""

from newslake.run.cli import main
from newslake.users.profiles import build_profiles

if __name__ == "__main__":
    main(build_profiles)
