"""A decoder from a folder in the hub's layout: config.json and safetensors files."""

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from ...errors import ModelError, UsageError
from . import gguf_file
from .blocks import FLOATS, Floats
from .config import DecoderModel, check_sizes
from .gguf_file import StoredTensor
from .hub_config import decoder_config, frequencies, read_hub_config
from .shapes import check_shapes

CONFIG: Final = "config.json"
WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Parts of the hub's names, and what they are called in GGUF files."""

KINDS = {kind.name: kind for kind in gguf_file.KINDS.values() if kind.name in FLOATS}
SHARD = re.compile(r"\w[\w.-]*\.safetensors")
IN_A_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
OUTSIDE = re.compile(r"(.+)\.(weight|bias)")
WITHOUT_EFFECT = re.compile(r".*rotary_emb\.inv_freq")


class _Place(Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Index(Struct):
    weight_map: dict[str, str]


def weight_files(folder: Path) -> list[str]:
    """The names of the safetensors files of the model. Raises UsageError if there are none."""
    if (folder / WHOLE).is_file():
        return [WHOLE]
    names = indexed_files(folder)
    if lacking := next((name for name in names if not (folder / name).is_file()), None):
        raise UsageError(f"{folder} has no file {lacking}, which {INDEX} names.")
    return [*names, INDEX]


def indexed_files(folder: Path) -> list[str]:
    """The names of the files that the index of weights in ``folder`` has. Raises UsageError."""
    path = folder / INDEX
    try:
        index = msgspec.json.decode(path.read_bytes(), type=_Index)
    except OSError as error:
        raise UsageError(f"{folder} has no {WHOLE} and no {INDEX}: a decoder needs its weights.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no index of weights: {error}.") from error
    names = sorted(set(index.weight_map.values()))
    if bad := next((name for name in names if not SHARD.fullmatch(name)), None):
        raise UsageError(f"{path} names {bad!r}, which is no file of weights.")
    return names


def read_hub_model(folder: Path) -> DecoderModel:
    """Read the model and check it.

    Raises UsageError for what is not supported, with its name; ModelError for a damaged or an incomplete file.
    """
    path = folder / CONFIG
    given = read_hub_config(path)
    config = decoder_config(given, path)
    check_sizes(config, str(path))
    tensors = HubTensors(folder, tied=bool(given.tie_word_embeddings))
    if given.tie_word_embeddings is False and not tensors.has("output.weight"):
        raise ModelError(
            f"{folder} lacks the tensor lm_head.weight, and {CONFIG} has tie_word_embeddings = false."
        )
    check_shapes(tensors.shapes, config, str(folder))
    return DecoderModel(config, frequencies(given, config.head_width, path), tensors)


class HubTensors:
    """The `Tensors` of safetensors files."""

    def __init__(self, folder: Path, *, tied: bool) -> None:
        """``tied``: a head beside the table of words is a copy of it."""
        self._folder = folder
        self._stored: dict[str, StoredTensor] = {}
        for name in weight_files(folder):
            if name != INDEX:
                self._stored |= dict(_tensors(folder / name))
        if tied:
            self._stored.pop("output.weight", None)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self._stored.items()}

    def has(self, name: str) -> bool:
        return name in self._stored

    def weight(self, name: str) -> Floats:
        tensor = self._stored[name]
        found = FLOATS[tensor.kind.name](tensor.data).reshape(tensor.shape)
        if not np.isfinite(found).all():
            raise ModelError(f"{self._folder} has values in {name} that are not finite numbers.")
        return found

    def vector(self, name: str) -> Floats:
        return self.weight(name).reshape(-1)

    def bits(self, name: str) -> int:
        return 32


def _tensors(path: Path) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors of a safetensors file, which stay in the file: the library would read a model into memory twice.

    The layout: u64 bytes of the header, the header in JSON, the data; places count from the end of the header.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        (size,) = struct.unpack_from("<Q", content)
        header = msgspec.json.decode(content[8 : 8 + size], type=dict[str, Any])
        header.pop("__metadata__", None)
        found = msgspec.convert(header, dict[str, _Place])
    except OSError as error:
        raise ModelError(f"Cannot read the weights {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, struct.error) as error:
        raise ModelError(f"{path} is no whole safetensors file: {error}.") from error
    data = content[8 + size :]
    for name, place in found.items():
        if WITHOUT_EFFECT.fullmatch(name):
            continue
        if place.dtype not in KINDS:
            raise UsageError(f"{path} has {name} as {place.dtype}; only {', '.join(KINDS)} are supported.")
        begin, end = place.data_offsets
        kind = KINDS[place.dtype]
        if not 0 <= begin <= end <= len(data) or end - begin != prod(place.shape) * kind.bytes:
            raise ModelError(f"{path} is no whole safetensors file: {name} does not fit into it.")
        yield _name(name), StoredTensor(kind, tuple(place.shape), data[begin:end])


def _name(name: str) -> str:
    """The name in GGUF files; an unknown name stays what it is."""
    if found := IN_A_LAYER.fullmatch(name):
        layer, part, end = found.groups()
        return f"blk.{layer}.{NAMES[part]}.{end}" if part in NAMES else name
    if found := OUTSIDE.fullmatch(name):
        part, end = found.groups()
        return f"{NAMES[part]}.{end}" if part in NAMES else name
    return name
