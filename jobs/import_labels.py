"""Brings labelled short texts into news and classifier scores into article_class_scores, from files of JSON lines."""

from newslake.cli import main
from newslake.mind.labels import import_labels

if __name__ == "__main__":
    main(import_labels)
