"""Releases on this machine."""
