"""Releases: what workers serve under an alias, as immutable versions in a folder or a bucket."""
