"""What an operator does with dead letters: look, replay, purge. Each that was dealt with has a mark in a topic."""
