"""From Delta to batches: examples, splits, staged folders, and the feed through Petastorm."""
