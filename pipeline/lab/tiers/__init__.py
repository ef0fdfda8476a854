"""Fitted triage models with other tiers over a real Kafka, each beside the first of them in the same round."""
