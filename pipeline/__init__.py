"""The pipeline: from a request on a topic to its reply."""
