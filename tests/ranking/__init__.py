"""Tests of newslake.ranking."""
