"""The training loop: epochs, steps, processes that train together, and where training stands."""
