"""Text to vectors: the encoder (plain torch, no Spark) and what runs it inside Spark."""
