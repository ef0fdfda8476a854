"""Load: the requests, and when they are sent."""
