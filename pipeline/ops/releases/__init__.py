"""Releases by what a user calls them: a model of this machine, an alias, a version."""
