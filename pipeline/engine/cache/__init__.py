"""Answers by content hash, in memory and on disk."""
