"""The text classifier: train_text_classifier and classify_articles."""
