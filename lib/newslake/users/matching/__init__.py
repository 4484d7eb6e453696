"""Finding tag sets that are alike, by Jaccard similarity: three matchers behind one interface."""

from newslake.users.matching.matcher import Matcher, MatcherName, matcher

__all__ = ["Matcher", "MatcherName", "matcher"]
