"""A model loaded on a device."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import (
    DeviceError,
    DeviceLost,
    DeviceOutOfMemory,
    DeviceUnavailable,
    ModelError,
    ProviderUnavailable,
)
from ..graphs.devices import ANY, DEVICE
from .model import Feeds
from .providers import Provider, candidates, unavailable

# Signs in ONNX Runtime's messages, in lower case: its errors have no type that tells these apart.
OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate",
    "bad_alloc",
    "available memory",
    "status_alloc_failed",
)
OF_THE_DEVICE = (
    "cuda failure",
    "cuda error",
    "cublas failure",
    "cublas error",
    "cudnn failure",
    "cudnn error",
    "cudnn_fe failure",
    "device-side assert",
    "device lost",
    "device instance has been suspended",
    "gpu is lost",
)
OF_THE_INPUT = (
    "invalid argument",
    "invalid configuration argument",
    "invalid_value",
    "bad_param",
    "not_supported",
)
# After most of these "the process must be terminated and relaunched", says CUDA of its errors; all need it.
FOR_GOOD = (
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "device-side assert",
    "hardware stack error",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "device lost",
    "device instance has been suspended",
    "gpu is lost",
)
# The fused operator adds and normalizes one value after the other: ten times slower on a CPU than its two parts.
SLOW_ON_CPU = "SkipLayerNormFusion"
QUIET = 4  # fatal only: what goes wrong is raised, in a sentence


class Session:
    """One ONNX Runtime session, shared by all lanes: ``run`` may be called from several threads at once."""

    def __init__(self, graph_path: Path | str, *, provider: str | None = None, threads: int = 1) -> None:
        """Load ``graph_path``; ``threads`` work on one run.

        Raises ProviderUnavailable when a provider was asked for and cannot be used: it never falls back in
        silence. Without a provider the best that works is taken. Raises ModelError for a bad graph.
        """
        self._session, chosen = _open(str(graph_path), provider, threads)
        self.provider = chosen.name
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        """Run one batch; outputs in the order of the graph. Raises DeviceError or, where the input is not at
        fault, DeviceOutOfMemory, DeviceUnavailable or DeviceLost."""
        try:
            outputs: list[NDArray[Any]] = self._session.run(self.outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            raise device_error(error) from error
        return outputs

    def warm_up(self) -> None:
        """Run one tiny batch, so that the first request does not pay for what is prepared lazily."""
        one = np.ones((1, 2), np.int64)
        self.run({node.name: one for node in self._session.get_inputs()})


def _options(threads: int, provider: Provider) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = QUIET
    # The patterns are a plan kept for each shape that was ever seen; they bring no speed here.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider.name == "cpu":
        options.add_session_config_entry("optimization.disable_specified_optimizers", SLOW_ON_CPU)
    return options


def _open(path: str, forced: str | None, threads: int) -> tuple[ort.InferenceSession, Provider]:
    for provider in candidates(forced, ort.get_available_providers()):
        wanted = [(provider.onnx_name, dict(provider.options))]
        try:
            session = ort.InferenceSession(path, _options(threads, provider), wanted, enable_fallback=False)
        except Exception as error:
            if provider.name == "cpu":
                raise ModelError(f"ONNX Runtime cannot load {path}: {_first_line(error)}.") from error
            continue
        if session.get_providers()[0] == provider.onnx_name and _made_for(session, provider, forced):
            return session, provider
    raise unavailable(forced or "cpu")


def _made_for(session: ort.InferenceSession, provider: Provider, forced: str | None) -> bool:
    """Whether the graph's operators exist on the device. Raises ProviderUnavailable where it was asked for."""
    made_for = session.get_modelmeta().custom_metadata_map.get(DEVICE, ANY)
    if provider.name == "cpu" or made_for == ANY:
        return True
    if forced:
        raise ProviderUnavailable(f"This model is made for a CPU; on {forced} use its fp32 variant.")
    return False


def device_error(error: Exception) -> DeviceError | DeviceOutOfMemory | DeviceUnavailable:
    """What ONNX Runtime's error at a run comes down to: whether the input, its size or the device is at fault."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or _tells(text, OUT_OF_MEMORY):
        return DeviceOutOfMemory(
            "The device has no memory for this batch; it is tried again with fewer tokens."
        )
    if not _tells(text, OF_THE_DEVICE) or _tells(text, OF_THE_INPUT):
        return DeviceError(f"The model cannot run this input: {_first_line(error)}.")
    if _tells(text, FOR_GOOD):
        return DeviceLost(
            f"The device is lost to this process, which has to be started again: {_first_line(error)}."
        )
    return DeviceUnavailable(
        f"The device failed, whatever the input; it is tried again: {_first_line(error)}."
    )


def _tells(text: str, signs: Iterable[str]) -> bool:
    return any(sign in text for sign in signs)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
