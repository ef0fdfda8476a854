"""Publishing and consuming, on Kafka or in an embedded broker in this process."""
