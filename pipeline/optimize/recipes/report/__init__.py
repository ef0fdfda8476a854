"""The report of a recipe: the same content as JSON and as one page of HTML."""
