"""Generated texts, token by token: prompts and conversations in, streams of tokens out."""
