"""Smaller and coarser weights of an encoder, computed in NumPy: int8, mixed precision, pruning."""
