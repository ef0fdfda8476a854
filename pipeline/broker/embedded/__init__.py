"""The broker in a folder or in memory, on SQLite: Kafka's semantics in one process."""
