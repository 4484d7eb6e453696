"""Milvus: collections that know what they hold, and aliases by which they are read."""
