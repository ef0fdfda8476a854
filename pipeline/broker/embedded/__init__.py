"""An embedded broker on SQLite, in a directory: Kafka's semantics without a server."""
