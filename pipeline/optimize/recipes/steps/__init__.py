"""The kinds of steps of a recipe, one a file."""
