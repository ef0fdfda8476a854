"""ONNX graphs that others have made: checked, and brought into the form that the runtime serves."""
