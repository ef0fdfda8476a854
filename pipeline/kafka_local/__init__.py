"""A real Kafka on this machine, without Java or Docker."""
