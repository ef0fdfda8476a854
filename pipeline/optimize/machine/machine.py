"""This machine and the packages on it: what figures of a report hold for."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Final

import numpy as np
from msgspec import Struct

from ...runtime.cores import usable_cores
from ...runtime.providers import candidates
from .cpu import cpu_name

PACKAGES: Final = (
    "inferstream",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "numpy",
    "scikit-learn",
    "tokenizers",
    "safetensors",
    "torch",
    "transformers",
)
SHAPE: Final = (384, 1_536)  # of a matrix of minilm
ROWS: Final = 256
PRODUCTS: Final = 20
ROUNDS: Final = 3


class Machine(Struct, frozen=True):
    """What runs the steps."""

    cpu: str
    cores: int
    memory_bytes: int | None
    system: str
    python: str

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.cpu}, {self.cores} core{'s' * (self.cores != 1)}"


def this_machine() -> Machine:
    """The machine that this process runs on, with the cores that it may use."""
    return Machine(
        cpu_name(),
        usable_cores(),
        _memory_bytes(),
        f"{platform.system()} {platform.release()}",
        sys.version.split()[0],
    )


def check_provider(provider: str) -> None:
    """Raise ProviderUnavailable if this build of ONNX Runtime does not have it."""
    import onnxruntime

    candidates(provider, onnxruntime.get_available_providers())


def versions() -> dict[str, str]:
    """The versions of the packages that decide a variant or a figure, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def products_per_s() -> float:
    """How many float32 products of the size of a small encoder's the machine computes in a second; takes 0.1 s."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((ROWS, SHAPE[0]), np.float32)
    right = rng.standard_normal(SHAPE, np.float32)
    seconds = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        for _ in range(PRODUCTS):
            left @ right
        seconds.append(perf_counter() - begun)
    return PRODUCTS / min(seconds)


def _memory_bytes() -> int | None:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
