"""What the image is made of."""

import os

import pytest
from docker import DockerClient
from docker.errors import ContainerError

pytestmark = pytest.mark.containers

LIMIT_MB = 330
"""What the image may add to its base, models not counted: they lie in a volume."""


def python(engine: DockerClient, image: str, code: str) -> str:
    out = engine.containers.run(image, ["-c", code], entrypoint="python", remove=True)
    return out.decode().strip()


def test_runs_as_a_user_who_owns_the_volume_and_nothing_else(engine: DockerClient, image: str) -> None:
    code = "import os; print(os.getuid(), *(os.access(p, os.W_OK) for p in ('/var/lib/inferstream', '/opt', '/etc')))"
    user, *writable = python(engine, image, code).split()
    assert int(user) > 0
    assert writable == ["True", "False", "False"]


@pytest.mark.parametrize("module", ["torch", "transformers", "sklearn", "pytest"])
def test_lacks_what_serving_does_not_need(engine: DockerClient, image: str, module: str) -> None:
    with pytest.raises(ContainerError, match="ModuleNotFoundError"):
        python(engine, image, f"import {module}")


def test_holds_what_a_worker_imports(engine: DockerClient, image: str) -> None:
    assert (
        python(
            engine,
            image,
            "import faust, onnxruntime, inferstream.workers.app as app; print(app.run.__name__)",
        )
        == "run"
    )


def test_tells_nobody_what_it_runs(engine: DockerClient, image: str) -> None:
    """ONNX Runtime keeps an id of the machine in the home folder, for its telemetry, unless that is off."""
    code = "import onnxruntime, pathlib; print(*pathlib.Path.home().rglob('*'))"
    assert python(engine, image, code) == ""


def test_stays_small(engine: DockerClient, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    size = engine.images.get(image).attrs["Size"]
    base = engine.images.get(os.environ.get("PYTHON_IMAGE", "python:3.11-slim")).attrs["Size"]
    with capsys.disabled():
        print(f"\nimage {size / 1e6:.0f} MB, of which {(size - base) / 1e6:.0f} MB are not its base")
    assert (size - base) / 1e6 < LIMIT_MB


def test_without_arguments_it_explains_itself(engine: DockerClient, image: str) -> None:
    assert b"Usage: inferstream" in engine.containers.run(image, remove=True)
