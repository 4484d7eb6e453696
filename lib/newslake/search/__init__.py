"""Exact search: top-k, the vote, maximum inner product."""
