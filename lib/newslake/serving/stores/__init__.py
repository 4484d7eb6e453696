"""Stores of vectors that are served from: a folder for each."""
