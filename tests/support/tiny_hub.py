"""A folder, published on a hub that a `FileServer` plays: its API and its files at one commit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from support.file_server import FileServer

REPOSITORY = "someone/Tiny-Encoder"
COMMIT = "1" * 40
LARGE = 50_000  # bytes; larger files are stored outside git


def serve_hub(server: FileServer, folder: Path, revisions: tuple[str, ...] = ("main", COMMIT)) -> None:
    """Serve all files of ``folder`` as the model REPOSITORY."""
    siblings = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            content = path.read_bytes()
            siblings.append(_sibling(name, content))
            server.files[f"/{REPOSITORY}/resolve/{COMMIT}/{name}"] = content
    info = {"id": REPOSITORY, "sha": COMMIT, "private": False, "gated": False, "siblings": siblings}
    for revision in revisions:
        path = f"/api/models/{REPOSITORY}/revision/{revision}?blobs=true"
        server.files[path] = json.dumps(info).encode()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": git}
    if len(content) > LARGE:
        sibling["lfs"] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "pointerSize": 130,
        }
    return sibling


def make_it_the_hub(server: FileServer, patch: pytest.MonkeyPatch) -> None:
    """What the variable HF_ENDPOINT does before the library is imported; without the user's token."""
    patch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_TOKEN_PATH", "/nonexistent")
    patch.delenv("HF_TOKEN", raising=False)
