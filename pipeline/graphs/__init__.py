"""Builds ONNX graphs from weights, without torch."""
