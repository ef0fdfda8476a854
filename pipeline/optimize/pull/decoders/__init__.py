"""Decoders of the Llama family, from GGUF files or as on the hub."""
