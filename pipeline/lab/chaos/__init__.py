"""Breaks brokers and workers under load. The auditor then judges the topics."""
