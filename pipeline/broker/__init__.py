"""Topics to read and write: on Kafka, or embedded in this process. Both pass one contract suite."""
