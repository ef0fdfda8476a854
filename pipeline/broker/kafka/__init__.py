"""The broker on Kafka. The only place that knows aiokafka."""
