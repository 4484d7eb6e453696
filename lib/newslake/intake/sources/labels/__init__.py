"""Short texts with their classes, and classifier scores: files of JSON lines."""
