"""The task `generate`: a text that goes on from another one, or that answers a conversation, by any decoder."""
