"""What a task is: texts to rows of tokens, and outputs to answers. A task knows no device."""
