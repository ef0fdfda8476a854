"""Fits triage to the labeled tickets of a user."""
