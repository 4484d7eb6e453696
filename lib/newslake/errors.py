"""Errors: a user's mistake and a failed job. Which it is decides the exit status (see run/cli.py)."""


class UserError(Exception):
    """A user's mistake: a missing path, a wrong option, a table not built yet. One line that says what to do.
    Exit status 2."""


class JobFailed(Exception):
    """A job's own check failed, such as rows out that do not equal rows in. Exit status 1."""


class SchemaMismatch(JobFailed):
    """A frame does not have the columns that its table's contract names. The message lists every
    difference."""
