"""Kafka or folders of JSON lines, in micro-batches, into the same tables by the same functions as the batch
jobs."""
