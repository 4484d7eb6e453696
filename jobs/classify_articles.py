"""Classifies new articles with the text classifiers that were trained last; writes article_class_scores."""

from newslake.run.cli import main
from newslake.training.classifier.classify import classify_articles

if __name__ == "__main__":
    main(classify_articles)
