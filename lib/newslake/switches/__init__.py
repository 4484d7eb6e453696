"""Small tables that say what holds now: the active topic model, the models in use, the purge horizon,
corrected classes."""
