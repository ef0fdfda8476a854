"""The cache of answers by content key, in memory and on disk."""
