"""Weights that are not one safetensors file, made into one: parts with an index, and pickles if the user says so."""

import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from safetensors import SafetensorError, deserialize

from ...errors import ModelError, UsageError
from ...graphs.llama.hub_model import INDEX, weight_files
from .plans import PICKLED, WEIGHTS

MAX_BYTES = 8_000_000_000  # of parts that are joined in memory
NOT_COPIED = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".safetensors")
"""Endings of files with weights, which the folder beside the joined ones does not need."""


@contextmanager
def whole_weights(folder: Path, *, pickled: bool) -> Iterator[Path]:
    """The folder, or while the context lasts another one with its small files and its weights in one file.

    ``pickled``: whether a pickle is read if there is nothing else. Raises UsageError or ModelError.
    """
    has_parts = not (folder / WEIGHTS).exists() and (folder / INDEX).is_file()
    only_pickle = pickled and not (folder / WEIGHTS).exists() and not has_parts
    if not has_parts and not only_pickle:
        if pickled:
            raise UsageError(f"{folder} has {WEIGHTS}: leave --weights-may-run-code out.")
        yield folder
        return
    with TemporaryDirectory() as temporary:
        other = Path(temporary)
        shutil.copytree(folder, other, dirs_exist_ok=True, ignore=_large)
        if has_parts:
            join_parts(folder, other / WEIGHTS)
        else:
            unpickle(folder / PICKLED, other / WEIGHTS)
        yield other


def _large(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(NOT_COPIED) or name.startswith(".")]


def join_parts(folder: Path, target: Path) -> None:
    """Write the tensors of all parts that the index names to one file. Raises UsageError or ModelError."""
    parts = [folder / name for name in weight_files(folder) if name != INDEX]
    if sum(part.stat().st_size for part in parts) > MAX_BYTES:
        raise UsageError(
            f"{folder} has more than {MAX_BYTES} bytes of weights: too many for an encoder here."
        )
    found = {}
    for part in parts:
        try:
            tensors = deserialize(part.read_bytes())  # type: ignore[no-untyped-call]
        except (OSError, SafetensorError) as error:
            raise ModelError(f"Cannot read the weights {part}: {error}.") from error
        for name, tensor in tensors:
            if name in found:
                raise ModelError(f"{part} has the tensor {name}, which another part has too.")
            found[name] = tensor
    _write(dict(sorted(found.items())), target)


def _write(tensors: Mapping[str, Mapping[str, Any]], target: Path) -> None:
    """A safetensors file: the bytes of the header as u64, the header in JSON, the data. As they are, of any kind."""
    header = {}
    place = 0
    for name, tensor in tensors.items():
        end = place + len(tensor["data"])
        header[name] = {"dtype": tensor["dtype"], "shape": tensor["shape"], "data_offsets": [place, end]}
        place = end
    encoded = msgspec.json.encode(header)
    encoded += b" " * (-len(encoded) % 8)
    with target.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in tensors.values():
            file.write(tensor["data"])


def unpickle(path: Path, target: Path) -> None:
    """Write the tensors of a pickle as safetensors. torch refuses what is no tensor, as far as it knows how.

    Raises UsageError without torch, ModelError for what is no set of tensors.
    """
    try:
        import torch
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise UsageError(
            "A pickle is read by torch: run pip install '.[optimize]' in a checkout of inferstream."
        ) from error
    if not path.is_file():
        raise UsageError(f"{path.parent} has no {WEIGHTS} and no {path.name}.")
    try:
        found = torch.load(str(path), map_location="cpu", weights_only=True)
        tensors = {str(name): tensor.contiguous().clone() for name, tensor in found.items()}
        save_file(tensors, str(target))
    except Exception as error:  # torch and pickle raise anything
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(f"{path} is no set of tensors that torch reads safely: {reason}.") from error
