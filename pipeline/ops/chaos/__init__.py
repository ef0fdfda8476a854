"""Breaks a cluster of brokers and workers under load, and has an auditor judge what is left."""
