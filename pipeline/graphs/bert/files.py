"""Reads a model's ``config.json`` and ``model.safetensors``, and refuses what is not a bare BERT encoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ...errors import ModelError, UsageError
from .float32 import BertConfig, Weights

SUPPORTED: dict[str, Any] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "auto_map": None,
    "quantization_config": None,
    "is_decoder": False,
}
ENCODERS = ("BertModel", "BertForMaskedLM", "BertForPreTraining")
"""Architectures whose encoder is complete without what they add to it."""

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
WITHOUT_EFFECT = ("pooler.", "cls.", "embeddings.position_ids")
"""Parts that no sentence vector depends on: the pooler of the next-sentence task, the head of the masked words."""

OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
SHOWN = 4
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_config(path: Path) -> BertConfig:
    """Read a model's ``config.json``. Raises UsageError with the setting that the builder does not support."""
    try:
        config = msgspec.json.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK), type=BertConfig)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not describe a BERT encoder: {error}.") from error
    for name, value in SUPPORTED.items():
        if (found := getattr(config, name)) != value:
            wanted = "none" if value is None else repr(value)
            raise UsageError(f"{path} has {name} = {found!r}; only {wanted} is supported.")
    if others := [name for name in config.architectures or () if name not in ENCODERS]:
        raise UsageError(
            f"{path} has architectures = {others}; only an encoder is supported ({', '.join(ENCODERS)})."
        )
    if config.num_attention_heads < 1 or (
        config.attention_head_size is None and config.hidden_size % config.num_attention_heads
    ):
        raise UsageError(
            f"{path} has hidden_size = {config.hidden_size}, which num_attention_heads = "
            f"{config.num_attention_heads} does not divide."
        )
    if config.attention_head_size is not None and config.attention_head_size < 1:
        raise UsageError(f"{path} has attention_head_size = {config.attention_head_size}; 1 is the least.")
    return config


def read_weights(path: Path) -> Weights:
    """The tensors of a safetensors file in float32, without those that have no effect, and without the
    prefix "bert." of full models. Raises ModelError.
    """
    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read the weights {path}: {error}.") from error
    named = ((_name(name), tensor) for name, tensor in tensors)
    return {name: _array(path, name, t) for name, t in named if not name.startswith(WITHOUT_EFFECT)}


def check_weights(config: BertConfig, weights: Weights, path: Path) -> None:
    """Raise ModelError unless ``weights`` are a BERT encoder as in ``config``, all of it and nothing else."""
    expected = dict(_shapes(config))
    for name, shape in expected.items():
        tensor = weights.get(name)
        if tensor is None:
            raise ModelError(f"{path} lacks the tensor {name!r} of a BERT encoder.")
        if tensor.shape != shape:
            raise ModelError(
                f"{path} has {name} of the shape {tensor.shape}, and config.json asks for {shape}."
            )
        if not np.isfinite(tensor).all():
            raise ModelError(f"{path} has values in {name} that are not finite numbers.")
    if more := sorted(weights.keys() - expected.keys()):
        shown = ", ".join(more[:SHOWN]) + (f" and {len(more) - SHOWN} more" if len(more) > SHOWN else "")
        raise ModelError(
            f"{path} has tensors that are no part of the BERT encoder in config.json: {shown}; "
            "only a bare encoder is supported."
        )


def _name(name: str) -> str:
    name = name.removeprefix("bert.")
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _array(path: Path, name: str, tensor: dict[str, Any]) -> NDArray[np.float32]:
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":  # the upper half of a float32
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor["shape"])
    if kind not in DTYPES:
        raise ModelError(f"{path} has {name} as {kind}; only F64, F32, F16 and BF16 are supported.")
    with np.errstate(over="ignore"):  # `check_weights` refuses what is not finite
        found: NDArray[np.float32] = np.frombuffer(data, DTYPES[kind]).astype(np.float32, copy=False)
    return found.reshape(tensor["shape"])


def _shapes(config: BertConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and the shape of each tensor of the encoder."""
    width, wide = config.hidden_size, config.intermediate_size
    inner = config.attention_width
    yield "embeddings.word_embeddings.weight", (config.vocab_size, width)
    yield "embeddings.position_embeddings.weight", (config.max_position_embeddings, width)
    yield "embeddings.token_type_embeddings.weight", (config.type_vocab_size, width)
    yield from _norm("embeddings.LayerNorm", width)
    for number in range(config.num_hidden_layers):
        prefix = f"encoder.layer.{number}."
        for part in ("query", "key", "value"):
            yield from _linear(f"{prefix}attention.self.{part}", inner, width)
        yield from _linear(prefix + "attention.output.dense", width, inner)
        yield from _norm(prefix + "attention.output.LayerNorm", width)
        yield from _linear(prefix + "intermediate.dense", wide, width)
        yield from _linear(prefix + "output.dense", width, wide)
        yield from _norm(prefix + "output.LayerNorm", width)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name + ".weight", (rows, columns)
    yield name + ".bias", (rows,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name + ".weight", (width,)
    yield name + ".bias", (width,)
