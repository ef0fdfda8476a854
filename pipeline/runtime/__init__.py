"""Models on a device: sessions, execution providers and tokenizers."""

import os

# ONNX Runtime sends telemetry unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
