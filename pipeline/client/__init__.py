"""Sends requests and receives their replies."""
