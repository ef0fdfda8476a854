"""`make demo`: sends the example tickets through a whole pipeline and shows figures and an audit."""
