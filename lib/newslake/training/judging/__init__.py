"""Judging models: comparison with intervals, the decision on a promotion, scores by Spark."""
