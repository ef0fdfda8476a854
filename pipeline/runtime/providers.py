"""Chooses the execution provider of ONNX Runtime and its number of lanes."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..errors import ProviderUnavailable, UsageError
from .cores import usable_cores


class Provider(Struct, frozen=True):
    """An execution provider: its short name here, its name in ONNX Runtime, its options there."""

    name: str
    onnx_name: str
    options: Mapping[str, str] = {}


PROVIDERS = (
    Provider("tensorrt", "TensorrtExecutionProvider", {"trt_engine_cache_enable": "1"}),
    Provider("cuda", "CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}),
    Provider("cpu", "CPUExecutionProvider"),
)


def candidates(forced: str | None, available: Sequence[str]) -> list[Provider]:
    """The providers to try, best first: all that this build of ONNX Runtime has, or only the
    ``forced`` one.

    Raises UsageError for an unknown name, ProviderUnavailable for one that this build lacks.
    """
    if forced is None:
        return [provider for provider in PROVIDERS if provider.onnx_name in available]
    chosen = next((provider for provider in PROVIDERS if provider.name == forced), None)
    if chosen is None:
        names = ", ".join(provider.name for provider in PROVIDERS)
        raise UsageError(f"There is no execution provider {forced!r}; choose one of {names}.")
    if chosen.onnx_name not in available:
        raise unavailable(forced)
    return [chosen]


def choose_provider(forced: str | None, available: Sequence[str]) -> Provider:
    """The provider to try first. Raises as ``candidates`` does."""
    return candidates(forced, available)[0]


def unavailable(name: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The execution provider {name} was requested and is not usable here; "
        "install the extra `gpu` (pip install '.[gpu]' in a checkout) with its driver and libraries, "
        "or leave the provider out."
    )


def default_lanes(provider: str) -> int:
    """The number of concurrent runs: one per core on a CPU, two on a GPU, so that copies and runs overlap."""
    return usable_cores() if provider == "cpu" else 2
