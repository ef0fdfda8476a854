"""The devices that a graph can run on, and what differs between them. Imports nothing of ours, unlike the builders."""

from collections.abc import Mapping
from typing import Final, NamedTuple

DEVICE: Final = "device"
"""The name under which a graph's metadata has the device that it is made for."""
ANY: Final = "any"
CPU: Final = "cpu"
CUDA: Final = "cuda"


class DeviceMemory(NamedTuple):
    """Where keys and values are.

    Attributes:
        name: as ONNX Runtime calls it.
        apart: whether the host cannot reach it. Then inputs and outputs of a step are copied, and keys and values are
            moved by runs of a graph. And a step has always all rows, and room for the longest text: there it
            costs hardly more, and no product or attention has another shape because of what shares the step.
    """

    name: str
    apart: bool


HOST: Final = DeviceMemory("cpu", apart=False)
MEMORIES: Final[Mapping[str, DeviceMemory]] = {CPU: HOST, CUDA: DeviceMemory("cuda", apart=True)}

ON_THE_HOST: Final = frozenset({"longest"})
"""Inputs that no device has in its own memory: `GroupQueryAttention` reads the total length on the host."""

PREFERRED: Final[Mapping[str, tuple[str, ...]]] = {CPU: ("int4", "int8"), CUDA: ("fp16", "fp32")}
"""The variants that the name of a model alone means: the first one that is there."""
