"""Standard input and output of a command in a pipe: lines are read and written as they come."""
