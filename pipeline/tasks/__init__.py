"""Tasks: texts to rows of tokens, and outputs to answers. Without devices and queues."""
