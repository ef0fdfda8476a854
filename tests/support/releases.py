"""Releases for tests: small files of all kinds, in a home folder and in a registry."""

import hashlib
from pathlib import Path

from inferstream.pipeline.models.metrics import Gate
from inferstream.pipeline.models.releases.registry.store import ReleaseStore
from inferstream.pipeline.models.releases.release import Origin, Release, StoredFile

OPEN = Gate({"min_share": 0.97}, passed=True)
FILES = {
    "models/tiny/int8.json": b'{"name": "tiny-int8"}',
    "models/tiny/int8.onnx": bytes(range(256)) * 40,
    "models/tiny/tokenizer.json": b"{}" * 500,
    "heads/shop/current": b"0123456789ab",
    "heads/shop/0123456789ab/head.msgpack": b"head" * 100,
    "heads/shop/0123456789ab/static.safetensors": b"static" * 300,
    "settings/triage/taxonomy.toml": b"[categories]\n",
}


def stored(content: bytes) -> StoredFile:
    """The entry of a file with this content."""
    return StoredFile(hashlib.sha256(content).hexdigest(), len(content))


def a_release(
    files: dict[str, bytes] | None = None,
    name: str = "shop",
    gate: Gate | None = OPEN,
    source: str = "a test",
) -> Release:
    """A release of the task `triage`."""
    files = FILES if files is None else files
    return Release(
        task="triage",
        name=name,
        files={path: stored(content) for path, content in files.items()},
        origin=Origin(source),
        gate=gate,
    )


def put_objects(store: ReleaseStore, files: dict[str, bytes], scratch: Path) -> None:
    """Copy the contents into the registry."""
    for content in files.values():
        source = scratch / hashlib.sha256(content).hexdigest()
        source.write_bytes(content)
        store.put_object(stored(content), source)
        source.unlink()


def published(
    store: ReleaseStore, scratch: Path, files: dict[str, bytes] | None = None, **other: object
) -> Release:
    """A release whose objects and manifest are in the registry."""
    release = a_release(files, **other)  # type: ignore[arg-type]
    put_objects(store, FILES if files is None else files, scratch)
    store.put_release(release)
    return release
