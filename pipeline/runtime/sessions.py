"""A model loaded on a device."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import ModelError
from ..graphs.devices import ANY, DEVICE, HOST, MEMORIES
from .bound_run import Address, Bound, BoundRun
from .device_errors import device_error, first_line
from .graph import Feeds
from .providers import Provider, candidates, made_for_another, unavailable

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


class Session:
    """A `Model` in one ONNX Runtime session, which all lanes share. Several threads may call `run` at once."""

    def __init__(
        self,
        graph: Path | str | bytes,
        *,
        provider: str | None = None,
        threads: int = 1,
        made_for: str = ANY,
    ) -> None:
        """Load ``graph``, or the one in this file, on ``provider``, or on the best usable one; each run uses
        ``threads`` threads. ``made_for``: the device that the graph is made for, to refuse others unopened.

        Raises ProviderUnavailable if ``provider`` is given and not usable here; there is no silent
        fallback. Raises ModelError for a bad graph.
        """
        given = graph if isinstance(graph, bytes) else str(graph)
        self._session, chosen = _open(given, provider, threads, made_for)
        self._threads = threads
        self.provider = chosen.name
        self.memory = MEMORIES.get(chosen.name, HOST)
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

    def bind(self, inputs: Mapping[str, Bound | Address], outputs: Mapping[str, Bound | Address]) -> BoundRun:
        """A run whose inputs and outputs stay where they are."""
        return BoundRun(self._session, self.memory, inputs, outputs)

    def beside(self, graph: bytes) -> "Session":
        """A session with another graph on the same device."""
        session = Session(graph, provider=self.provider, threads=self._threads)
        session.memory = self.memory
        return session

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


def _open(
    graph: str | bytes, forced: str | None, threads: int, made_for: str
) -> tuple[ort.InferenceSession, Provider]:
    os.environ.setdefault(WITHOUT_TILES, "1")
    ort.set_default_logger_severity(
        LOG_FATAL
    )  # it warns of a provider that cannot be used, which is told below
    for provider in candidates(forced, ort.get_available_providers(), made_for):
        requested = [(provider.onnx_name, dict(provider.options))]
        try:
            session = ort.InferenceSession(
                graph, _options(threads, provider), requested, enable_fallback=False
            )
        except Exception as error:
            if provider.name == "cpu":
                name = graph if isinstance(graph, str) else "a graph"
                raise ModelError(f"ONNX Runtime cannot load {name}: {first_line(error)}.") from error
            continue
        if session.get_providers()[0] == provider.onnx_name and _runs_on(session, provider, forced):
            return session, provider
    raise unavailable(forced, made_for)


def _runs_on(session: ort.InferenceSession, provider: Provider, forced: str | None) -> bool:
    """Whether the provider has the graph's operators. Raises ProviderUnavailable if not and it is ``forced``."""
    made_for = session.get_modelmeta().custom_metadata_map.get(DEVICE, ANY)
    if provider.name == "cpu" or made_for == ANY:
        return True
    if forced:
        raise made_for_another(made_for, forced)
    return False
