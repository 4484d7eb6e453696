"""The tables: the only file that knows Delta, the contracts of schemas/, and SQL text."""
