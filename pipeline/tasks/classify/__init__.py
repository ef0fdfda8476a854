"""The task `classify`: the labels of a text, by a model that has a head of its own."""
