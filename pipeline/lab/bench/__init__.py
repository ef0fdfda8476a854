"""Throughput and latency over a real Kafka, each beside an honest baseline of the same run, as a ratio."""
