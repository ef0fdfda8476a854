"""The broker on Kafka. The only folder that imports aiokafka."""
