"""`inferstream optimize`: runs the steps of a recipe, keeps what they made, and reports."""
