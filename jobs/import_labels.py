"""Brings labelled short texts into news and classifier scores into article_class_scores, from files of JSON
lines."""

from newslake.intake.sources.labels.load import import_labels
from newslake.run.cli import main

if __name__ == "__main__":
    main(import_labels)
