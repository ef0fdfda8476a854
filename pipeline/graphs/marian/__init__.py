"""Translators of the Marian family as ONNX graphs: float32 and int8."""
