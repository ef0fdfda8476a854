"""What a worker process loads: nothing that only makes models, above all no torch and no transformers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_model import write_tiny_model

from inferstream import SyncClient
from inferstream.pipeline.cli.main import run
from inferstream.pipeline.models.registry import ModelRegistry
from inferstream.pipeline.optimize.pull.pulling import pull

PATIENCE_S = 60
MAKING = {"torch", "transformers", "sklearn", "scipy", "matplotlib", "onnx"}
WORKER = """
import sys
from inferstream.pipeline.cli.main import run
models = [word for name in sys.argv[2:] for word in ("--model", name)]
status = run(["worker", "triage", "embed", "--embedded", sys.argv[1], *models])
print(*sys.modules)
sys.exit(status)
"""


def quiet(step: str, done: int, total: int | None) -> None:
    pass


@pytest.mark.parametrize(
    "models", [("triage:tiny", "embed:tiny"), ("triage:triage@prod", "embed:embed@prod")]
)
def test_a_worker_that_has_answered_has_loaded_nothing_that_makes_models(
    models: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their names, and by aliases of releases, which are checked before they are served."""
    monkeypatch.setenv("INFERSTREAM_HOME", str(tmp_path / "home"))
    pull(ModelRegistry(tmp_path / "home"), "tiny", quiet, write_tiny_model(tmp_path / "tiny"))
    for alias in (name.partition(":")[2] for name in models if "@" in name):
        assert run(["models", "promote", "tiny-int8", alias, "--force"]) == 0
    for name in (
        "torch",
        "transformers",
    ):  # here: a worker must not load them where they are installed either
        (tmp_path / "stubs" / name).mkdir(parents=True)
        (tmp_path / "stubs" / name / "__init__.py").touch()
    places = {"PYTHONPATH": str(tmp_path / "stubs")}
    command = [sys.executable, "-c", WORKER, str(tmp_path / "queue"), *models]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=os.environ | places) as worker:
        try:
            assert worker.stderr
            assert any("Serving" in line for line in worker.stderr)
            with SyncClient(embedded=tmp_path / "queue") as client:
                for task in ("triage", "embed"):
                    assert client.request(task, "my card is late", timeout_s=PATIENCE_S)
            worker.send_signal(signal.SIGTERM)
            printed, log = worker.communicate(timeout=PATIENCE_S)
        finally:
            worker.kill()
    assert worker.returncode == 0, log
    loaded = set(printed.split())
    assert "onnxruntime" in loaded, "it is the list of a worker's modules"
    assert not MAKING & loaded
    assert not [name for name in loaded if name.startswith("inferstream.pipeline.optimize")]
