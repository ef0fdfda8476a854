"""The contract: messages, topic and header names, and the codec between them and bytes."""
