"""Triage of support tickets: category, priority, route, and whether a human must look."""
