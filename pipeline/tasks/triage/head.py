"""Fitted models on disk: `<home>/heads/NAME/VERSION/head.msgpack`; `NAME/current` has the version
to serve.

A version is never changed or removed. Another fit adds a version, then updates `current`.
"""

import os
import re
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from ...errors import ModelError, UnknownModel, UsageError
from .classifier import Classifier, Destinations
from .task import NONE

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
VERSION = re.compile(r"[0-9a-f]{12}")


class HeadAccuracy(Struct, frozen=True):
    """The measured accuracy of a head on tickets that it was not fitted on."""

    train_rows: int
    test_rows: int
    accuracy: float
    macro_f1: float
    calibration_error_before: float
    calibration_error: float


class Head(Struct, frozen=True):
    """Multinomial logistic regression on the vectors of one encoder."""

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

    def encoded(self) -> bytes:
        """The bytes on disk."""
        return msgspec.msgpack.encode(self)

    @property
    def version(self) -> str:
        """12 hexadecimal digits of the digest of its content."""
        return _version(self.encoded())

    @property
    def cleaning(self) -> str:
        """How a text is cleaned before it is read, as it was for the fit."""
        return self.clean or NONE

    @property
    def destinations(self) -> Destinations:
        return Destinations(self.routes, self.priorities)

    def classifier(self) -> Classifier:
        """The classifier of the head. Raises ModelError if an array has the wrong size."""
        weights = np.frombuffer(self.weights, "<f4")
        bias = np.frombuffer(self.bias, "<f4")
        if (weights.size, bias.size) != (self.dimensions * len(self.labels), len(self.labels)):
            raise ModelError("The fitted model has weights of the wrong shape; fit it again.")
        return Classifier(
            labels=self.labels,
            weights=weights.reshape(self.dimensions, len(self.labels)).astype(np.float32),
            bias=bias.astype(np.float32),
            temperature=self.temperature,
            digest=blake2b(self.encoded(), digest_size=32).digest(),
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
        files = sorted(self._folder(name).glob("*/head.msgpack"), key=lambda path: path.stat().st_mtime_ns)
        return [path.parent.name for path in files]

    def save(self, name: str, head: Head) -> str:
        """Store a new version and make it the current one, atomically; returns the version."""
        content = head.encoded()
        version = _version(content)
        folder = self._folder(name) / version
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "head.msgpack", content)
        _replace(self._folder(name) / "current", version.encode())
        return version

    def use(self, name: str, version: str) -> None:
        """Make an older version the current one. Raises UnknownModel, ModelError."""
        self.load(name, version)
        _replace(self._folder(name) / "current", version.encode())

    def has(self, name: str) -> bool:
        """Whether there is a fitted model of this name."""
        return bool(NAME.fullmatch(name)) and (self.root / name / "current").exists()

    def current(self, name: str) -> str:
        """The version to serve. Raises UnknownModel, ModelError."""
        if not self.has(name):
            known = ", ".join(self.names()) or "none yet"
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
        path = self._folder(name) / version / "head.msgpack"
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
            raise ModelError(f"{path} was written by another release ({error}); fit {name} again.") from error

    def _folder(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a model name: use lower-case letters, digits, dots and hyphens."
            )
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
