"""Ranking what a user may be shown: click-through rates, features of candidates, the learnt ranker, the
newsfeed."""
