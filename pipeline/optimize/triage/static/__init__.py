"""Trains the static tier of a fitted model: in NumPy, with its gradient by hand, so that `fit` needs no torch."""
