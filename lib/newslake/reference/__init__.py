"""The pages of docs/ that say what stands in the code: `python -m newslake.reference` writes them, a test
says when they are stale."""
