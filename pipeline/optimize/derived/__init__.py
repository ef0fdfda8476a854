"""Models that are made of a model on this machine."""
