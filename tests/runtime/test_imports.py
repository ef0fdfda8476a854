"""Modules that a worker must not import, because they would stay in memory."""

import subprocess
import sys

SERVING = ("models.registry", "models.manifest", "runtime.sessions", "runtime.tokenizer", "runtime.providers")
BUILDING = {"onnx", "httpx", "huggingface_hub", "safetensors", "torch", "transformers"}


def test_serving_loads_nothing_that_only_a_pull_needs() -> None:
    program = "import sys; " + "; ".join(f"import inferstream.pipeline.{name}" for name in SERVING)
    loaded = subprocess.check_output([sys.executable, "-c", program + "; print(*sys.modules)"], text=True)
    assert "onnxruntime" in loaded.split()
    assert not BUILDING & set(loaded.split())
