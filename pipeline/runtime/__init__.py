"""Models on a device. ONNX Runtime reports its use to its makers unless it is told not to before it is loaded."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
