"""A decoder from a GGUF file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, UsageError
from .blocks import Blocks, Floats, Weight, dense, unpacked
from .config import LONGEST_CONTEXT, MOST_LAYERS, NOPE_INTERVAL, DecoderConfig, DecoderModel, check_sizes
from .gguf_file import GgufFile, StoredTensor, read_gguf
from .shapes import check_shapes

INTERLEAVED = {"llama": True, "smollm3": True, "qwen2": False, "qwen3": False}
"""The architectures, and whether their queries and keys are stored for turning pairs of neighbors."""

SHOWN = 60
LEAST_FACTOR = 1e-3
"""Of positions: less turns them faster than any model was trained with, in the end by infinity."""

FREQUENCIES = "rope_freqs.weight"

WITHOUT_EFFECT = {
    "vocab_size",
    "rope.scaling.original_context_length",  # the factors that come from it are in the file
    "rope.scaling.finetuned",
    "tensor_data_layout",
}
READ = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
}


def read_gguf_model(path: Path) -> DecoderModel:
    """Read the file and check it.

    Raises UsageError for what is not supported, with its name; ModelError for a damaged or an incomplete file.
    """
    return gguf_model(read_gguf(path))


def gguf_model(file: GgufFile) -> DecoderModel:
    """The decoder in a file whose header is read. Raises as `read_gguf_model`."""
    settings = _Settings(file)
    config = settings.config()
    check_sizes(config, str(file.path))
    check_shapes({name: t.shape for name, t in file.tensors.items()}, config, str(file.path), [FREQUENCIES])
    tensors = GgufTensors(file.tensors, file.path)
    return DecoderModel(config, settings.frequencies(config, tensors), tensors)


class GgufTensors:
    """The `Tensors` of a GGUF file."""

    def __init__(self, stored: Mapping[str, StoredTensor], path: Path) -> None:
        self._stored = stored
        self._path = path

    def has(self, name: str) -> bool:
        return name in self._stored

    def weight(self, name: str) -> Weight:
        found = unpacked(self._stored[name])
        parts = (found.scales, found.offsets) if isinstance(found, Blocks) else (found,)
        if not all(np.isfinite(part).all() for part in parts):
            raise ModelError(f"{self._path} has values in {name} that are not finite numbers.")
        return found

    def vector(self, name: str) -> Floats:
        return dense(self.weight(name)).reshape(-1)

    def bits(self, name: str) -> int:
        kind = self._stored[name].kind.name
        return int(kind[1]) if kind[0] == "Q" else 32


class _Settings:
    """The settings of the architecture, each with its type checked."""

    def __init__(self, file: GgufFile) -> None:
        self._file = file
        self._refuse_other_files()
        name = file.settings.get("general.architecture")
        if name not in INTERLEAVED:
            raise UsageError(
                f"{file.path} has general.architecture = {short(name)}; only {', '.join(INTERLEAVED)} are supported."
            )
        self.architecture = str(name)
        self._refuse_unknown()

    def config(self) -> DecoderConfig:
        width = self._int("embedding_length")
        heads = self._int("attention.head_count")
        layers = self._int("block_count")
        if not 0 < heads <= width or not 0 < layers <= MOST_LAYERS:
            raise UsageError(
                f"{self._file.path} has {heads} heads, {layers} layers and the width {width}; at least one head and "
                f"1 to {MOST_LAYERS} layers are supported."
            )
        head_width = self._int("attention.key_length", width // heads)
        self._only("attention.value_length", head_width)
        self._only("rope.dimension_count", head_width)
        window = self._int("attention.sliding_window", 0)
        rotary = [
            self.architecture != "smollm3" or (layer + 1) % NOPE_INTERVAL != 0 for layer in range(layers)
        ]
        words = self._file.tensors.get("token_embd.weight")
        return DecoderConfig(
            family=self.architecture,
            width=width,
            wide=self._int("feed_forward_length"),
            layers=layers,
            heads=heads,
            kv_heads=self._int("attention.head_count_kv", heads),
            head_width=head_width,
            words=words.shape[0] if words else 0,
            context=min(self._int("context_length"), LONGEST_CONTEXT),
            epsilon=self._float("attention.layer_norm_rms_epsilon"),
            interleaved=INTERLEAVED[self.architecture],
            windows=(window,) * layers,
            rotary=tuple(rotary),
        )

    def frequencies(self, config: DecoderConfig, tensors: GgufTensors) -> NDArray[np.float64]:
        """Divided by the factors in the file: those of each frequency (Llama 3), or one for all (linear)."""
        half = config.head_width // 2
        base = self._float("rope.freq_base", 10_000.0)
        if not 1 < base < math.inf:
            raise UsageError(f"{self._file.path} has rope.freq_base = {base}; it must be a number above 1.")
        found: NDArray[np.float64] = base ** -(np.arange(half) / half)
        kind = self._get("rope.scaling.type", "none")
        if kind not in {"none", "linear"}:
            raise UsageError(
                f"{self._file.path} has rope.scaling.type = {short(kind)}; only none, linear and the factors of Llama "
                "3 are supported."
            )
        if kind == "linear":
            factor = self._float("rope.scaling.factor")
            if not LEAST_FACTOR <= factor < math.inf:
                raise UsageError(
                    f"{self._file.path} has rope.scaling.factor = {factor}; it must be {LEAST_FACTOR} at least."
                )
            found = found / factor
        if tensors.has(FREQUENCIES):
            factors = tensors.vector(FREQUENCIES)
            if factors.shape != (half,) or not (factors > 0).all():
                raise ModelError(f"{self._file.path} has {FREQUENCIES} that are not {half} positive numbers.")
            found = found / factors
        return found

    def _refuse_other_files(self) -> None:
        """What has the layout of a model and is none, or is only a part of one."""
        kind = self._file.settings.get("general.type", "model")
        if kind != "model":
            raise UsageError(
                f"{self._file.path} has general.type = {short(kind)}; only 'model' is supported."
            )
        parts = self._file.settings.get("split.count", 1)
        if parts not in (0, 1):
            raise UsageError(
                f"{self._file.path} is one of {short(parts)} parts of a model: join them by llama.cpp's "
                "`llama-gguf-split --merge` and import the whole file."
            )

    def _refuse_unknown(self) -> None:
        prefix = self.architecture + "."
        for name, value in self._file.settings.items():
            own = name.removeprefix(prefix)
            if own != name and own not in READ | WITHOUT_EFFECT and value not in (0, False, None):
                raise UsageError(f"{self._file.path} has {name} = {short(value)}, which is not supported.")

    def _get(self, name: str, default: Any = None) -> Any:
        value = self._file.settings.get(f"{self.architecture}.{name}", default)
        if value is None:
            raise UsageError(f"{self._file.path} has no {self.architecture}.{name}.")
        return value

    def _int(self, name: str, default: int | None = None) -> int:
        value = self._get(name, default)
        if isinstance(value, list) and len(set(value)) == 1:
            value = value[0]
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(
                f"{self._file.path} has {self.architecture}.{name} = {short(value)}; only one whole number for "
                "all layers is supported."
            )
        return value

    def _float(self, name: str, default: float | None = None) -> float:
        value = self._get(name, default)
        if not isinstance(value, float):
            raise UsageError(
                f"{self._file.path} has {self.architecture}.{name} = {short(value)}; it must be a number."
            )
        return value

    def _only(self, name: str, wanted: int) -> None:
        if (found := self._int(name, wanted)) != wanted:
            raise UsageError(
                f"{self._file.path} has {self.architecture}.{name} = {found}; only {wanted}, the width of a head, "
                "is supported."
            )


def short(value: object) -> str:
    """A value of a file, which may be long and have control characters, in a sentence."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
