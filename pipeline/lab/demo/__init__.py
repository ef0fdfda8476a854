"""`make demo`: example tickets through the whole pipeline, with figures."""
