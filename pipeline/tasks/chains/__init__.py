"""Chains of tasks: the answer of each step is what the next one is asked. Declared in the settings."""
