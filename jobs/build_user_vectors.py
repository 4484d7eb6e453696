"""Joins the users' tag phrases of a day with their topics; writes user_vectors."""

from newslake.run.cli import main
from newslake.users.user_vectors import build_user_vectors

if __name__ == "__main__":
    main(build_user_vectors)
