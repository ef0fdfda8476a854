"""Reads a model's ``config.json`` and ``model.safetensors``, and refuses what is not an encoder or a classifier of
BERT's families.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ...errors import ModelError, UsageError
from .families import FAMILIES, HEAD_DENSE, HEAD_OUT, Family, bert_settings, bert_weights, bias_of
from .float32 import BertConfig, Weights
from .labels import labels_in

SUPPORTED: dict[str, Any] = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "auto_map": None,
    "quantization_config": None,
    "is_decoder": False,
}
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
SHOWN = 4
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_config(path: Path) -> BertConfig:
    """Read a model's ``config.json``, as that of a BERT. Raises UsageError with the setting that the builder does
    not support.
    """
    try:
        given = msgspec.json.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK), type=dict[str, Any])
        family = FAMILIES.get(str(given.get("model_type")))
        if family is None:
            raise UsageError(
                f"{path} has model_type = {given.get('model_type')!r}; only {', '.join(FAMILIES)} are supported."
            )
        config = msgspec.convert(bert_settings(family, given), BertConfig)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} does not describe a BERT encoder: {error}.") from error
    _check(config, family, path)
    if family.classifier not in (config.architectures or ()):
        return config
    return msgspec.structs.replace(config, labels=len(labels_in(given, path).names))


def _check(config: BertConfig, family: Family, path: Path) -> None:
    """Raise UsageError with the setting that the builder does not support."""
    for name, value in SUPPORTED.items():
        if (found := getattr(config, name)) != value:
            wanted = "none" if value is None else repr(value)
            raise UsageError(f"{path} has {name} = {found!r}; only {wanted} is supported.")
    known = (*family.encoders, family.classifier)
    if others := [name for name in config.architectures or () if name not in known]:
        raise UsageError(
            f"{path} has architectures = {others}; only an encoder or a classifier of texts is supported "
            f"({', '.join(known)})."
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
    if config.max_position_embeddings < 1:
        raise UsageError(f"{path} has no positions for tokens (max_position_embeddings).")


def read_weights(path: Path, config: BertConfig) -> Weights:
    """The tensors of a safetensors file in float32, under the names of BERT, without those that have no effect.
    Raises ModelError.
    """
    family = FAMILIES[config.model_type]
    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Cannot read the weights {path}: {error}.") from error
    named = ((family.name_of(name, with_head=config.labels > 0), tensor) for name, tensor in tensors)
    found = {name: _array(path, name, tensor) for name, tensor in named if family.has_effect(name)}
    return bert_weights(family, found, config.padding, config.num_hidden_layers)


def check_weights(config: BertConfig, weights: Weights, path: Path) -> None:
    """Raise ModelError unless ``weights`` are those of ``config`` under the names of BERT, all and nothing else."""
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
            "only a bare encoder, or a classifier with its own head, is supported."
        )


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
        if buckets := config.relative_attention_num_buckets:
            yield bias_of(prefix), (buckets, config.num_attention_heads)
        yield from _linear(prefix + "attention.output.dense", width, inner)
        yield from _norm(prefix + "attention.output.LayerNorm", width)
        yield from _linear(prefix + "intermediate.dense", wide, width)
        yield from _linear(prefix + "output.dense", width, wide)
        yield from _norm(prefix + "output.LayerNorm", width)
    if config.labels:
        yield from _linear(HEAD_DENSE, width, width)
        yield from _linear(HEAD_OUT, config.labels, width)


def _linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name + ".weight", (rows, columns)
    yield name + ".bias", (rows,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name + ".weight", (width,)
    yield name + ".bias", (width,)
