"""Rollouts: which requests a new version answers, what is counted of it, and when it is rolled back."""
