"""A model loaded on a device."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import DeviceError, DeviceOutOfMemory, ModelError, ProviderUnavailable
from ..graphs.devices import ANY, DEVICE
from .providers import Provider, candidates, unavailable

OUT_OF_MEMORY = ("out of memory", "failed to allocate", "bad_alloc", "available memory")
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

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run one batch; outputs in the order of the graph. Raises DeviceOutOfMemory or DeviceError."""
        try:
            outputs: list[NDArray[Any]] = self._session.run(self.outputs, dict(feeds))
        except Exception as error:  # ONNX Runtime's errors share no base but Exception
            raise _device_error(error) from error
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


def _device_error(error: Exception) -> DeviceError | DeviceOutOfMemory:
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return DeviceOutOfMemory(
            "The device has no memory for this batch; it is tried again with fewer tokens."
        )
    return DeviceError(f"The model cannot run this input: {_first_line(error)}.")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
