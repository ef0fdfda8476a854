"""The manifest of a model variant on disk: its source, digests, limits and measured accuracy."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from ..errors import ModelError
from .files import publish
from .judgements import check_gate, merged
from .metrics import Gate, Judgement, MachineSpeed, ServedBy, merged_speeds

PATHS = ("graph_path", "tokenizer_path", "shortlist_path", "data_path", "chat_path")
ENCODER = "bert-encoder"  # the kind of a sentence encoder
CLASSIFIER = "text-classifier"  # the kind of a model with labels of its own


class Agreement(Struct, frozen=True):
    """How close a variant is to the float32 original, measured on the sentences of the file ``sample``."""

    cosine_mean: float
    cosine_min: float
    label: float  # share of the sentences with the same label
    sentences: int
    sample: str


class ScoreAgreement(Struct, frozen=True):
    """How close the scores of a classifier are to the float32 original's, on the sentences of the file ``sample``."""

    label: (
        float  # share of the sentences with the same label; with the same labels, where there may be several
    )
    mean_difference: float  # of the score of a label
    largest_difference: float
    sentences: int
    sample: str


class Independence(Struct, frozen=True):
    """How much the other rows of a batch change the answer to a text: alone against in company."""

    rows: int  # the sample's sentences and long texts that join them
    labels_changed: int
    largest_difference: float  # of an element of a unit vector, or of a score


class Fidelity(Struct, frozen=True):
    """How close a decoder is to its float32 original, measured on texts that are made of the file ``sample``."""

    kl: float  # the mean divergence of the next token's probabilities, in nats
    top1: float  # share of the tokens after which both expect the same one
    tokens: int
    sample: str
    provider: str = "cpu"  # that ran the variant


class Steadiness(Struct, frozen=True):
    """What changes when texts are generated beside others, with other chunks of the prompt, or resumed: texts with
    any other bit in any score.
    """

    texts: int
    in_company: int
    in_other_chunks: int
    resumed: int


class Lineage(Struct, frozen=True):
    """What a variant was made from, and how."""

    original: str  # minilm-fp32
    original_version: str
    step: str  # prune or distill
    share: float  # of the heads and units that were removed; distilled: of the weights of all layers
    rows: int  # that were given
    rows_sha256: str
    forced: bool = False  # made although too little accuracy was kept
    student: str = ""  # distilled: the variant that training began with, and its version
    passes: int = 0  # distilled: over the texts


class Manifest(Struct, frozen=True):
    """One model variant. The paths are absolute here; the file on disk has only the file names."""

    name: str  # minilm-int8
    kind: str  # bert-encoder, text-classifier, marian-translator or llama-decoder
    precision: str  # one of `registry.PRECISIONS`
    source: str
    revision: str
    weights_sha256: str
    graph_sha256: str
    tokenizer_sha256: str
    max_tokens: int  # of one window, special tokens included
    dimensions: int
    pad_id: int
    builder: int = msgspec.field(
        name="recipe"
    )  # its version, raised whenever the same files give another graph
    graph_path: str
    tokenizer_path: str
    agreement: Agreement | None = None
    independence: Independence | None = None
    config_sha256: str = ""
    pooling: str = ""  # of an encoder: mean or cls; head: the scores of a classifier's own head
    graph_from: str = (
        ""  # where the graph was not built from the weights: the file it came in, or torch's export
    )
    labels: tuple[str, ...] = ()  # of a classifier, in the order of its scores
    multi_label: bool = False  # whether a text may have several of them
    score_agreement: ScoreAgreement | None = None  # of a classifier, instead of the agreement of vectors
    matryoshka_dimensions: tuple[int, ...] = ()  # a vector may be cut to one of these, as its model says
    notes: tuple[str, ...] = ()  # what the files ask for and the graph need not do
    pair: str = ""  # of a translator: source-target, as en-pt; empty if its files do not say it
    length_factor: float | None = None  # of a translator: the most tokens for each token of the source
    shortlist_sha256: str = ""
    shortlist_path: str = ""
    family: str = ""  # of a decoder: llama, qwen2, …
    device: str = ""  # of a decoder: the device that its graph is made for, cpu or cuda
    end_ids: tuple[int, ...] = ()  # of a decoder: the tokens that end a text
    fidelity: Fidelity | None = None
    steadiness: Steadiness | None = None
    data_sha256: str = ""  # of the file with the arrays of the graph, where they are beside it
    data_path: str = ""
    chat_sha256: str = ""  # of the file with the chat template
    chat_path: str = ""
    lineage: Lineage | None = None  # of a variant that was made from another model here
    gate: Gate | None = None  # of the figures that were measured when it was built
    judgements: dict[str, Judgement] = {}  # by use, as fitted or zero-shot
    speeds: tuple[MachineSpeed, ...] = ()  # measured alone, of each machine and device the latest

    @property
    def digest(self) -> bytes:
        """Digest of all that decides an output: graph, tokenizer, longest row, the shortlist of a translator, the
        chat template of a decoder.
        """
        parts = (self.graph_sha256, self.tokenizer_sha256, str(self.max_tokens))
        more = (self.shortlist_sha256, self.data_sha256, self.chat_sha256)
        return hashlib.sha256(" ".join([*parts, *filter(None, more)]).encode()).digest()

    @property
    def digests(self) -> dict[str, str]:
        """The digest that each file of the variant must have, by its path."""
        files = {
            self.graph_path: self.graph_sha256,
            self.tokenizer_path: self.tokenizer_sha256,
            self.shortlist_path: self.shortlist_sha256,
            self.data_path: self.data_sha256,
            self.chat_path: self.chat_sha256,
        }
        return {path: digest for path, digest in files.items() if path}

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the digest."""
        return self.digest.hex()[:12]

    def without_figures(self) -> Self:
        """For another variant of the same weights: of what was measured of this one nothing is true of that one."""
        return msgspec.structs.replace(
            self,
            agreement=None,
            score_agreement=None,
            independence=None,
            fidelity=None,
            steadiness=None,
            gate=None,
            judgements={},
            speeds=(),
        )

    def speed_on(self, served_by: ServedBy, use: str) -> MachineSpeed | None:
        """What a session like this one was measured with, for this use or alone."""
        judged = self.judgements[use].evaluation.speeds if use in self.judgements else ()
        return next((speed for speed in (*judged, *self.speeds) if speed.served_by == served_by), None)

    def check_gates(self, use: str = "") -> None:
        """Raise ModelError if the variant may not be served at all, or not for this use."""
        check_gate(self.name, self.gate)
        if use in self.judgements:
            check_gate(self.name, self.judgements[use].gate, use)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; its paths become absolute. Raises ModelError if it is missing or damaged."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"Cannot read the manifest {path}: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise ModelError(f"The manifest {path} is damaged ({error}); pull the model again.") from error
    return _with_paths(manifest, lambda name: str(path.parent / Path(name).name))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest atomically. What an older one of the same version says of judgements, force and speeds stays."""
    manifest = _with_history(manifest, path)
    portable = _with_paths(manifest, lambda name: Path(name).name)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(portable), indent=2))
    publish(part, path)


def _with_history(manifest: Manifest, path: Path) -> Manifest:
    try:
        older = read_manifest(path)
    except ModelError:
        return manifest
    if older.version != manifest.version:
        return manifest
    gate = manifest.gate or older.gate
    if gate and older.gate and older.gate.forced:
        gate = msgspec.structs.replace(gate, forced=True)
    return msgspec.structs.replace(
        manifest,
        gate=gate,
        judgements=merged(manifest.judgements, older.judgements),
        speeds=merged_speeds(manifest.speeds, older.speeds),
    )


def _with_paths(manifest: Manifest, change: Callable[[str], str]) -> Manifest:
    paths = {name: getattr(manifest, name) for name in PATHS}
    changed = {name: change(path) for name, path in paths.items() if path}
    return msgspec.structs.replace(manifest, **changed)
