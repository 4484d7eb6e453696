"""Trains a classifier of texts on frozen vectors; writes article_class_scores, text_classifiers and
text_classifier_classes."""

from newslake.run.cli import main
from newslake.training.classifier.train import train_text_classifier

if __name__ == "__main__":
    main(train_text_classifier)
