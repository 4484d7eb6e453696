"""The contract: one .sql file per Delta table. Read through importlib.resources."""
