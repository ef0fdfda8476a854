"""Reads the files of users: rows of CSV, JSON Lines or text, strictly and in one way for all commands."""
