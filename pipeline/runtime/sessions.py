"""A model loaded on a device."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
from .graph import Feeds
from .providers import Provider, candidates, unavailable

# Parts of ONNX Runtime's messages, in lower case. The types of its errors do not distinguish these
# cases.
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
# CUDA's documentation says of most of these: "the process must be terminated and relaunched".
PERMANENT = (
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
# The fused operator is not vectorized on a CPU: it is ten times slower there than its two parts.
SLOW_ON_CPU = "SkipLayerNormFusion"
# `GroupQueryAttention` in tiles takes 1.5 times as long for one query of a row as without. ONNX Runtime has no setting
# of a session for it.
WITHOUT_TILES = "ORT_GQA_DISABLE_FLASH_ATTENTION"
TYPES = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
LOG_FATAL = 4  # ONNX Runtime logs nothing else: every error is raised, with a sentence


class Bound(NamedTuple):
    """Memory that a run reads or writes in place; it must live as long as the run that has it."""

    array: NDArray[Any]
    """Its first element is the first one of the memory."""
    shape: tuple[int, ...]


class BoundRun:
    """Runs of one session whose inputs and outputs are always at the same places."""

    def __init__(
        self, session: ort.InferenceSession, inputs: Mapping[str, Bound], outputs: Mapping[str, Bound]
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        for name, bound in inputs.items():
            self._binding.bind_input(name, "cpu", 0, *_place(bound))
        for name, bound in outputs.items():
            self._binding.bind_output(name, "cpu", 0, *_place(bound))

    def run(self) -> None:
        """Run once. Raises as `Session.run`."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise device_error(error) from error


def _place(bound: Bound) -> tuple[Any, tuple[int, ...], int]:
    return bound.array.dtype.type, bound.shape, bound.array.ctypes.data


class Session:
    """A `Model` in one ONNX Runtime session, which all lanes share. Several threads may call `run` at once."""

    def __init__(self, graph_path: Path | str, *, provider: str | None = None, threads: int = 1) -> None:
        """Load ``graph_path`` on ``provider``, or on the best usable one; each run uses ``threads``
        threads.

        Raises ProviderUnavailable if ``provider`` is given and not usable here; there is no silent
        fallback. Raises ModelError for a bad graph.
        """
        self._session, chosen = _open(str(graph_path), provider, threads)
        self.provider = chosen.name
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run(self, feeds: Feeds) -> list[NDArray[Any]]:
        """Run one batch; returns the outputs in the order of the graph.

        Raises DeviceError if the input is the cause, else DeviceOutOfMemory, DeviceUnavailable or
        DeviceLost.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(self.outputs, dict(feeds))
        except Exception as error:  # the only common base class of ONNX Runtime's errors
            raise device_error(error) from error
        return outputs

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        """The shape of each input; a dimension that may vary has a name."""
        return {node.name: tuple(node.shape) for node in self._session.get_inputs()}

    @property
    def input_types(self) -> dict[str, np.dtype[Any]]:
        """The kind of numbers of each input."""
        return {node.name: np.dtype(TYPES[node.type]) for node in self._session.get_inputs()}

    @property
    def output_shapes(self) -> dict[str, tuple[int | str, ...]]:
        return {node.name: tuple(node.shape) for node in self._session.get_outputs()}

    @property
    def metadata(self) -> dict[str, str]:
        """What the builder of the graph has written into it."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def bind(self, inputs: Mapping[str, Bound], outputs: Mapping[str, Bound]) -> BoundRun:
        """A run on a CPU whose arrays stay where they are."""
        return BoundRun(self._session, inputs, outputs)

    def warm_up(self) -> None:
        """Run one tiny batch, so that lazy initialization does not delay the first request."""
        one = np.ones((1, 2), np.int64)
        self.run({node.name: one for node in self._session.get_inputs()})


def _options(threads: int, provider: Provider) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = LOG_FATAL
    # ONNX Runtime would keep a memory plan for every shape; measured without any gain in speed
    # here.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider.name == "cpu":
        options.add_session_config_entry("optimization.disable_specified_optimizers", SLOW_ON_CPU)
    return options


def _open(path: str, forced: str | None, threads: int) -> tuple[ort.InferenceSession, Provider]:
    os.environ.setdefault(WITHOUT_TILES, "1")
    for provider in candidates(forced, ort.get_available_providers()):
        requested = [(provider.onnx_name, dict(provider.options))]
        try:
            session = ort.InferenceSession(
                path, _options(threads, provider), requested, enable_fallback=False
            )
        except Exception as error:
            if provider.name == "cpu":
                raise ModelError(f"ONNX Runtime cannot load {path}: {_first_line(error)}.") from error
            continue
        if session.get_providers()[0] == provider.onnx_name and _runs_on(session, provider, forced):
            return session, provider
    raise unavailable(forced or "cpu")


def _runs_on(session: ort.InferenceSession, provider: Provider, forced: str | None) -> bool:
    """Whether the provider has the graph's operators. Raises ProviderUnavailable if not and it is ``forced``."""
    made_for = session.get_modelmeta().custom_metadata_map.get(DEVICE, ANY)
    if provider.name == "cpu" or made_for == ANY:
        return True
    if forced:
        raise ProviderUnavailable(f"This model is made for a CPU; on {forced} use its fp32 variant.")
    return False


def device_error(error: Exception) -> DeviceError | DeviceOutOfMemory | DeviceUnavailable:
    """Our error for an error of a run, by its cause: the input, the size of the batch, or the device."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or _has_any(text, OUT_OF_MEMORY):
        return DeviceOutOfMemory(
            "The device has no memory for this batch; it is tried again with fewer tokens."
        )
    if not _has_any(text, OF_THE_DEVICE) or _has_any(text, OF_THE_INPUT):
        return DeviceError(f"The model cannot run this input: {_first_line(error)}.")
    if _has_any(text, PERMANENT):
        return DeviceLost(f"The device is lost until the process is started again: {_first_line(error)}.")
    return DeviceUnavailable(
        f"The device failed for a reason other than the input; the batch is tried again: {_first_line(error)}."
    )


def _has_any(text: str, parts: Iterable[str]) -> bool:
    return any(part in text for part in parts)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
