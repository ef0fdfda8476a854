"""Fitted models on disk: `<home>/heads/NAME/VERSION/head.msgpack`, and the files of its static tier beside it;
`NAME/current` has the version to serve. A version is never changed or removed: a fit adds one, then updates `current`.
"""

import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from ...errors import ModelError, UnknownModel, UsageError, listed
from ...models.files import sha256_of
from .cascade import Cascade
from .classifier import Classifier, Destinations
from .static_file import STATIC_FILE
from .static_tier import StaticTier
from .ticket_task import NONE

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
VERSION = re.compile(r"[0-9a-f]{12}")
HEAD_FILE: Final = "head.msgpack"
TOKENIZER_FILE: Final = "tokenizer.json"  # beside a static tier, which needs no other file of the encoder

Serve = Literal["encoder", "static", "cascade", "ensemble"]
ENCODER_TIER: Final = "encoder"
STATIC_TIER: Final = "static"
CASCADE: Final = "cascade"
ENSEMBLE: Final = "ensemble"


class HeadAccuracy(Struct, frozen=True):
    """The measured accuracy of a head on tickets that it was not fitted on."""

    train_rows: int
    test_rows: int
    accuracy: float
    macro_f1: float
    calibration_error_before: float
    calibration_error: float


class StaticPart(Struct, frozen=True):
    """The static tier of a fitted model, whose files are beside `head.msgpack`: see `static_tier`."""

    weights_sha256: str  # of static.safetensors
    tokenizer_sha256: str  # of tokenizer.json, the encoder's: nothing else of the encoder is needed
    max_tokens: int  # of one window
    pad_id: int
    measured: HeadAccuracy


class Head(Struct, frozen=True):
    """Multinomial logistic regression on the vectors of one encoder, and a static tier where there is one."""

    base: str
    encoder_digest: bytes
    labels: tuple[str, ...]
    dimensions: int
    weights: bytes  # float32, little-endian, (dimensions, labels)
    bias: bytes  # float32, little-endian, (labels,)
    temperature: float
    measured: HeadAccuracy
    routes: dict[str, str] = {}
    priorities: dict[str, str] = {}
    clean: str | UnsetType = UNSET  # how its texts were cleaned; not there in heads of texts as they were
    static: StaticPart | UnsetType = UNSET
    cascade: Cascade | UnsetType = UNSET
    together: float | UnsetType = UNSET  # temperature of the sum of both tiers' log-probabilities
    serve: Serve | UnsetType = UNSET

    def encoded(self) -> bytes:
        """The bytes on disk."""
        return msgspec.msgpack.encode(self)

    @property
    def digest(self) -> bytes:
        """Of its content, and by the digests in it of the files beside it."""
        return blake2b(self.encoded(), digest_size=32).digest()

    @property
    def version(self) -> str:
        """12 hexadecimal digits of the digest of its content."""
        return _version(self.encoded())

    @property
    def cleaning(self) -> str:
        """How a text is cleaned before it is read, as it was for the fit."""
        return self.clean or NONE

    @property
    def served(self) -> Serve:
        """Which tier answers."""
        return self.serve or ENCODER_TIER

    @property
    def measured_served(self) -> HeadAccuracy | None:
        """The accuracy of the tier that answers; None where both do: see `fit_record.measured_served`."""
        if self.served == ENCODER_TIER:
            return self.measured
        return self.static.measured if self.served == STATIC_TIER and self.static else None

    @property
    def files(self) -> dict[str, str]:
        """The files beside `head.msgpack` that belong to the version, each with its SHA-256."""
        if self.static is UNSET:
            return {}
        return {STATIC_FILE: self.static.weights_sha256, TOKENIZER_FILE: self.static.tokenizer_sha256}

    @property
    def destinations(self) -> Destinations:
        return Destinations(self.routes, self.priorities)

    def classifier(self) -> Classifier:
        """The classifier of the head. Raises ModelError if an array has the wrong size."""
        weights = np.frombuffer(self.weights, "<f4")
        bias = np.frombuffer(self.bias, "<f4")
        if (weights.size, bias.size) != (self.dimensions * len(self.labels), len(self.labels)):
            raise ModelError("The fitted model has weights of the wrong shape; fit it again.")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all() and 0 < self.temperature < np.inf):
            raise ModelError("The fitted model has weights that are no numbers (NaN); fit it again.")
        return Classifier(
            labels=self.labels,
            weights=weights.reshape(self.dimensions, len(self.labels)).astype(np.float32),
            bias=bias.astype(np.float32),
            temperature=self.temperature,
            digest=self.digest,
        )


class HeadStore:
    """The fitted models below a folder."""

    def __init__(self, home: Path) -> None:
        self.root = home / "heads"

    def names(self) -> list[str]:
        """The names of the models that can be served."""
        return sorted(path.parent.name for path in self.root.glob("*/current"))

    def versions(self, name: str) -> list[str]:
        """All versions of a model, the oldest first."""
        files = sorted(self._folder(name).glob(f"*/{HEAD_FILE}"), key=lambda path: path.stat().st_mtime_ns)
        return [path.parent.name for path in files]

    def save(self, name: str, head: Head, files: Mapping[str, bytes] | None = None) -> str:
        """Store a new version and make it the current one, atomically; returns the version.

        ``files``: the contents of `Head.files`.
        """
        content = head.encoded()
        version = _version(content)
        folder = self._folder(name) / version
        folder.mkdir(parents=True, exist_ok=True)
        for file, its_content in (files or {}).items():
            _replace(folder / file, its_content)
        _replace(folder / HEAD_FILE, content)  # the last one: a version that has it is whole
        _replace(self._folder(name) / "current", version.encode())
        return version

    def use(self, name: str, version: str) -> None:
        """Make an older version the current one. Raises UnknownModel, ModelError."""
        head = self.load(name, version)
        for file in head.files:
            self.file(name, head, file)
        _replace(self._folder(name) / "current", version.encode())

    def has(self, name: str) -> bool:
        """Whether there is a fitted model of this name."""
        return bool(NAME.fullmatch(name)) and (self.root / name / "current").exists()

    def current(self, name: str) -> str:
        """The version to serve. Raises UnknownModel, ModelError."""
        if not self.has(name):
            known = listed(self.names()) or "none yet"
            raise UnknownModel(
                f"There is no fitted model {name!r}; there is: {known}. Fit one with `triage fit`."
            )
        version = (self.root / name / "current").read_text("ascii", errors="replace").strip()
        if not VERSION.fullmatch(version):
            raise ModelError(f"{self.root / name / 'current'} does not contain a version; fit {name} again.")
        return version

    def load(self, name: str, version: str | None = None) -> Head:
        """A verified head, the current one by default. Raises UnknownModel, or ModelError for a damaged file."""
        version = version or self.current(name)
        path = self._folder(name) / version / HEAD_FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            known = ", ".join(self.versions(name)) or "none"
            raise UnknownModel(f"{name} has no version {version!r}; its versions are: {known}.") from error
        if _version(content) != version:
            raise ModelError(f"{path} is damaged; fit {name} again with `inferstream triage fit`.")
        try:
            return msgspec.msgpack.decode(content, type=Head)
        except msgspec.DecodeError as error:
            raise ModelError(
                f"{path} was written by another version of inferstream ({error}); fit {name} again."
            ) from error

    def file(self, name: str, head: Head, file: str) -> Path:
        """The path of one of `Head.files`, whose content has been verified. Raises ModelError."""
        path = self._folder(name) / head.version / file
        if not path.is_file() or sha256_of(path) != head.files.get(file):
            raise ModelError(
                f"{path} is absent or damaged; fit {name} again with `inferstream triage fit`, or copy the whole "
                f"folder {path.parent} again."
            )
        return path

    def static_tier(self, name: str, head: Head) -> StaticTier:
        """The static tier of a head of this name. Raises ModelError if it has none, or another than its labels."""
        if head.static is UNSET:
            raise ModelError(f"{name} has no static tier; fit it again with `inferstream triage fit`.")
        path = self.file(name, head, STATIC_FILE)
        tier = StaticTier.read(path.read_bytes(), head.static.weights_sha256, str(path))
        if (tier.labels, tier.dimensions) != (len(head.labels), head.dimensions):
            raise ModelError(f"{path} is for other labels or another encoder than {name}; fit it again.")
        return tier

    def _folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a model name: use lower-case letters, digits, dots, hyphens.")
        return self.root / name


def _version(content: bytes) -> str:
    return blake2b(content, digest_size=32).hexdigest()[:12]


def _replace(path: Path, content: bytes) -> None:
    """Write a file atomically and durably."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
