"""The task `embed`: the vector of a text, by any encoder."""
