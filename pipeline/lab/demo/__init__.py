"""`make demo`: sends example tickets through a pipeline, shows figures and an audit."""
