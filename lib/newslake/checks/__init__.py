"""Checks of what the tables hold: what to check stands in a settings file, what was found goes to
check_results and a webhook."""
