"""The manifest of a model variant on disk: its source, digests, limits and measured accuracy."""

import hashlib
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from ..errors import ModelError
from .files import publish


class Agreement(Struct, frozen=True):
    """How close a variant is to the float32 original, measured on the sentences of the file ``sample``."""

    cosine_mean: float
    cosine_min: float
    label: float  # share of the sentences with the same label
    sentences: int
    sample: str


class Independence(Struct, frozen=True):
    """How much the other rows of a batch change the vector of a text: alone against in company."""

    rows: int  # the sample's sentences and long texts that join them
    labels_changed: int
    largest_difference: float  # of an element of a unit vector


class Manifest(Struct, frozen=True):
    """One model variant. The paths are absolute here; the file on disk has only the file names."""

    name: str  # minilm-int8
    kind: str  # bert-encoder
    precision: str  # fp32 or int8
    source: str
    revision: str
    weights_sha256: str
    graph_sha256: str
    tokenizer_sha256: str
    max_tokens: int  # of one window, special tokens included
    dimensions: int
    pad_id: int
    recipe: int  # of the builder that made the graph
    graph_path: str
    tokenizer_path: str
    agreement: Agreement | None = None
    independence: Independence | None = None
    config_sha256: str = ""
    pooling: str = ""
    matryoshka_dimensions: tuple[int, ...] = ()  # a vector may be cut to one of these, as its model says
    notes: tuple[str, ...] = ()  # what the files ask for and the graph need not do

    @property
    def digest(self) -> bytes:
        """Digest of all that decides a vector: graph, tokenizer, window length."""
        parts = f"{self.graph_sha256} {self.tokenizer_sha256} {self.max_tokens}"
        return hashlib.sha256(parts.encode()).digest()

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the digest."""
        return self.digest.hex()[:12]


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; its paths become absolute. Raises ModelError if it is missing or damaged."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"Cannot read the manifest {path}: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"The manifest {path} is damaged ({error}); pull the model again.") from error
    folder = path.parent
    return msgspec.structs.replace(
        manifest,
        graph_path=str(folder / Path(manifest.graph_path).name),
        tokenizer_path=str(folder / Path(manifest.tokenizer_path).name),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest atomically."""
    portable = msgspec.structs.replace(
        manifest, graph_path=Path(manifest.graph_path).name, tokenizer_path=Path(manifest.tokenizer_path).name
    )
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(portable), indent=2))
    publish(part, path)
