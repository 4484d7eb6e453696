"""Spark itself: the session, its set-up on one machine, Python workers, frames."""
