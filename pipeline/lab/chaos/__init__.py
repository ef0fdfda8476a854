"""Breaks brokers and workers under load, then audits the topics."""
