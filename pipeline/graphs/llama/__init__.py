"""Decoders of the Llama family as ONNX graphs: float32, 8 bit, and 4 bit as stored."""
