"""Checks in the topics that each request has one terminal event, in the order of its key."""
