"""Chooses the execution provider of ONNX Runtime and its number of lanes."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..errors import ProviderUnavailable, UsageError
from ..graphs.devices import ANY, CPU
from .cores import usable_cores


class Provider(Struct, frozen=True):
    """An execution provider: its short name here, its name in ONNX Runtime, its options there."""

    name: str
    onnx_name: str
    options: Mapping[str, str] = {}


PROVIDERS = (
    Provider("tensorrt", "TensorrtExecutionProvider", {"trt_engine_cache_enable": "1"}),
    # Without the strict mode the sums of squares in a norm are float16 too: above 65 504 they are infinite.
    Provider(
        "cuda",
        "CUDAExecutionProvider",
        {"cudnn_conv_algo_search": "HEURISTIC", "enable_skip_layer_norm_strict_mode": "1"},
    ),
    Provider("cpu", "CPUExecutionProvider"),
)


def candidates(forced: str | None, available: Sequence[str], made_for: str = ANY) -> list[Provider]:
    """The providers to try, best first: all that this build of ONNX Runtime has, or only the
    ``forced`` one; of a graph that is ``made_for`` one of them, only that one.

    Raises UsageError for an unknown name, ProviderUnavailable for one that this build lacks, or that is another one
    than the graph is made for.
    """
    if forced is None:
        fitting = [provider for provider in PROVIDERS if made_for in (ANY, provider.name)]
        found = [provider for provider in fitting if provider.onnx_name in available]
        if not found:
            raise unavailable(None, made_for)
        return found
    chosen = next((provider for provider in PROVIDERS if provider.name == forced), None)
    if chosen is None:
        names = ", ".join(provider.name for provider in PROVIDERS)
        raise UsageError(f"There is no execution provider {forced!r}; choose one of {names}.")
    if chosen.onnx_name not in available:
        raise unavailable(forced, made_for)
    if made_for not in (ANY, forced):
        raise made_for_another(made_for, forced)
    return [chosen]


def choose_provider(forced: str | None, available: Sequence[str]) -> Provider:
    """The provider to try first. Raises as ``candidates`` does."""
    return candidates(forced, available)[0]


def unavailable(forced: str | None, made_for: str = ANY) -> ProviderUnavailable:
    """For a provider that was ``forced``, or that a graph is ``made_for``, and cannot be used."""
    if forced:
        what = f"The execution provider {forced} was requested and is not usable here"
    else:
        what = f"This model is made for the execution provider {made_for}, which is not usable here"
    instead = "leave the provider out" if made_for in (ANY, CPU) else "use the model's variant for a CPU"
    return ProviderUnavailable(
        f"{what}; install the extra `gpu` (pip install '.[gpu]' in a checkout) with a driver, CUDA and cuDNN, or "
        f"{instead}."
    )


def made_for_another(made_for: str, forced: str) -> ProviderUnavailable:
    """For a graph that is ``made_for`` another provider than the one that was ``forced``."""
    if made_for == CPU:
        return ProviderUnavailable(
            f"This model is made for a CPU; on {forced} use its fp32 variant, or fp16 of a language model."
        )
    return ProviderUnavailable(
        f"This model is made for {made_for}, and {forced} was requested: request {made_for}, or use the model's "
        "variant for a CPU."
    )


def default_lanes(provider: str) -> int:
    """The number of concurrent runs: one per core on a CPU, two on a GPU, so that copies and runs overlap."""
    return usable_cores() if provider == "cpu" else 2
