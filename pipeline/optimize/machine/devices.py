"""What a session runs on, so that figures are believed only where they were measured."""

import subprocess
from typing import Final

from onnx import TensorProto, helper

from ...errors import ProviderUnavailable
from ...graphs.devices import CPU
from ...models.metrics import ServedBy
from ...runtime.sessions import Session
from .cpu import cpu_name

GPU_TIMEOUT_S: Final = 10.0


def served_by(provider: str, threads: int = 1) -> ServedBy:
    """This machine's device behind ``provider``, and the runtime."""
    from onnxruntime import __version__ as runtime

    device = cpu_name() if provider == CPU else gpu_name()
    return ServedBy(provider, device, threads, runtime)


def usable(provider: str) -> bool:
    """Whether a session can be opened with it: the library may have a provider whose driver is not there."""
    if provider == CPU:
        return True
    try:
        Session(_smallest_graph(), provider=provider)
    except ProviderUnavailable:
        return False
    return True


def _smallest_graph() -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "one",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    opset = helper.make_opsetid("", 17)
    content: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()
    return content


def gpu_name() -> str:
    """As the driver's tool tells it."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return "an unknown GPU"
    return next(iter(done.stdout.splitlines()), "").strip() or "an unknown GPU"
