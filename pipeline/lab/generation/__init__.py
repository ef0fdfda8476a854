"""Proving the figures of generated texts: beside native engines of the same weights, all on one core."""
