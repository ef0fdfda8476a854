"""What `config.json` says about a decoder, as the model hub has it."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ...errors import UsageError
from .config import LONGEST_CONTEXT, MOST_LAYERS, NOPE_INTERVAL, DecoderConfig

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
FULL = "full_attention"
SLIDING = "sliding_attention"
WINDOW = 4096  # where config.json of Mistral or Qwen does not say it
QWEN_FULL = 28
"""Layers of Qwen without a window, where config.json does not say it."""

Frequencies = NDArray[np.float64]
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "quantization_config": (None,),
    "auto_map": (None,),
    "partial_rotary_factor": (1.0, None),
}


class HubConfig(Struct):
    """The fields of `config.json` that decide the network."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    rope_theta: float | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    tie_word_embeddings: bool | None = None
    hidden_act: str = "silu"
    sliding_window: int | msgspec.UnsetType | None = msgspec.UNSET
    use_sliding_window: bool | None = None
    max_window_layers: int | None = None
    layer_types: list[str] | None = None
    no_rope_layers: list[int] | None = None
    no_rope_layer_interval: int | None = None
    quantization_config: Any = None
    auto_map: Any = None
    partial_rotary_factor: float | None = None
    eos_token_id: int | list[int] | None = None


def read_hub_config(path: Path) -> HubConfig:
    """Read it. Raises UsageError with the setting that is not supported."""
    try:
        config = msgspec.json.decode(path.read_bytes(), type=HubConfig)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not describe a decoder: {error}.") from error
    if config.model_type not in FAMILIES:
        raise UsageError(
            f"{path} has model_type = {config.model_type!r}; only {', '.join(FAMILIES)} are supported."
        )
    for name, values in SUPPORTED.items():
        if (found := getattr(config, name)) not in values:
            wanted = "none" if values[0] is None else repr(values[0])
            raise UsageError(f"{path} has {name} = {found!r}; only {wanted} is supported.")
    return config


def decoder_config(config: HubConfig, path: Path) -> DecoderConfig:
    """The sizes and the kinds of layers. Raises UsageError."""
    layers = config.num_hidden_layers
    if not (config.num_attention_heads > 0 and 0 < layers <= MOST_LAYERS):
        raise UsageError(
            f"{path} has {config.num_attention_heads} heads and {layers} layers; at least one head and "
            f"1 to {MOST_LAYERS} layers are supported."
        )
    rotary = _rotary(config, path)
    return DecoderConfig(
        family=config.model_type,
        width=config.hidden_size,
        wide=config.intermediate_size,
        layers=layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        head_width=config.head_dim or config.hidden_size // config.num_attention_heads,
        words=config.vocab_size,
        context=min(config.max_position_embeddings, LONGEST_CONTEXT),
        epsilon=config.rms_norm_eps,
        interleaved=False,
        windows=_windows(config, path, rotary),
        rotary=rotary,
    )


def frequencies(config: HubConfig, head_width: int, path: Path) -> Frequencies:
    """Of the rotary positions, in radians per token. Raises UsageError for a scaling that is not supported."""
    scaling = config.rope_parameters or config.rope_scaling or {}
    if any(isinstance(value, dict) for value in scaling.values()):
        raise UsageError(f"{path} has rope_parameters for each kind of layer; only one set is supported.")
    if scaling.get("partial_rotary_factor") not in SUPPORTED["partial_rotary_factor"]:
        raise UsageError(
            f"{path} has partial_rotary_factor = {scaling['partial_rotary_factor']!r}; only 1.0 is supported."
        )
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in SCALINGS:
        raise UsageError(f"{path} has rope_type = {kind!r}; only {', '.join(SCALINGS)} are supported.")
    half = head_width // 2
    try:
        with np.errstate(all="raise"):
            base = float(scaling.get("rope_theta") or config.rope_theta or 10_000.0)
            return SCALINGS[kind](base ** -(np.arange(half) / half), scaling)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{path} has rope settings that cannot be used: {error}.") from error


def _linear(found: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    stretched: Frequencies = found / float(scaling["factor"])
    return stretched


def _llama3(found: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    """Slow turns are stretched, fast ones stay, and those between are mixed (Llama 3.1)."""
    factor = float(scaling["factor"])
    slow = float(scaling["low_freq_factor"])
    fast = float(scaling["high_freq_factor"])
    turns = float(scaling["original_max_position_embeddings"]) * found / (2 * math.pi)
    share = np.clip((turns - slow) / (fast - slow), 0, 1)
    if not fast > slow:
        raise ValueError(f"high_freq_factor {fast} is not above low_freq_factor {slow}")
    mixed: Frequencies = (1 - share) * found / factor + share * found
    return mixed


SCALINGS: Mapping[str, Callable[[Frequencies, Mapping[str, Any]], Frequencies]] = {
    "default": lambda found, scaling: found,
    "linear": _linear,
    "llama3": _llama3,
}


def _windows(config: HubConfig, path: Path, rotary: Sequence[bool]) -> tuple[int, ...]:
    """As the classes of `transformers` have it, each with its own rule where `layer_types` is missing."""
    layers = config.num_hidden_layers
    family = config.model_type
    window = config.sliding_window
    if window is msgspec.UNSET:
        window = None if family == "smollm3" else WINDOW
    if family == "llama" or (family != "mistral" and not config.use_sliding_window):
        window = None
    kinds = config.layer_types
    if kinds is None:
        full = QWEN_FULL if config.max_window_layers is None else config.max_window_layers
        slides = {
            "qwen2": [layer >= full for layer in range(layers)],
            "qwen3": [layer >= full for layer in range(layers)],
            "smollm3": [not turned for turned in rotary],
        }.get(family, [True] * layers)
        kinds = [SLIDING if one else FULL for one in slides]
    if len(kinds) != layers or not {*kinds} <= {FULL, SLIDING}:
        raise UsageError(
            f"{path} has layer_types = {kinds}; only {FULL} and {SLIDING}, for each layer, are supported."
        )
    return tuple((window or 0) if kind == SLIDING else 0 for kind in kinds)


def _rotary(config: HubConfig, path: Path) -> tuple[bool, ...]:
    layers = config.num_hidden_layers
    if config.no_rope_layers:
        if len(config.no_rope_layers) != layers:
            raise UsageError(f"{path} has {len(config.no_rope_layers)} no_rope_layers for {layers} layers.")
        return tuple(map(bool, config.no_rope_layers))  # 1: it has rotary positions
    if config.model_type != "smollm3":
        return (True,) * layers
    interval = config.no_rope_layer_interval or NOPE_INTERVAL
    return tuple((layer + 1) % interval != 0 for layer in range(layers))
