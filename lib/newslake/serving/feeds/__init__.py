"""Feeds of files: what Vespa and the tutorial take."""
