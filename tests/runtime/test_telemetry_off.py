"""ONNX Runtime sends no telemetry."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnxruntime_writes_no_telemetry_files(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run(
        [sys.executable, "-c", "import inferstream.pipeline.runtime.sessions"], env=environment, check=True
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
