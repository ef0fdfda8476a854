"""Checks delivery by reading the topics: each request must have one terminal event, in the order of its key."""
