"""Training of recommenders: Delta -> Petastorm -> PyTorch, ranking metrics, and the vectors that come out of
it."""
