"""Fits the task `triage` to labeled tickets of a user, and measures it."""
