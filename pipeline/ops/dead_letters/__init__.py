"""Dead letters for operators: list, replay, purge. Each handled letter gets a mark in a topic."""
