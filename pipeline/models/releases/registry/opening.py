"""Finds the registry that the settings name."""

from pathlib import Path
from typing import Final

from ....home import expanded, home_folder
from .storage.bounded_storage import BoundedStorage
from .storage.folder_storage import FolderStorage
from .storage.storage import Storage
from .store import ReleaseStore

FOLDER: Final = "registry"

CALL_S: Final = 30.0
"""The default of `timeout_s` in [registry]."""


def open_registry(
    url: str | None = None, home: Path | None = None, *, limit_s: float = CALL_S
) -> ReleaseStore:
    """The registry at a folder or an address; without one, the folder `registry` below the home folder.

    ``limit_s``: bounds each call to it, see `BoundedStorage`. Nothing is read yet, and nothing connects. Raises
    UsageError for an address that cannot be used.
    """
    return ReleaseStore(BoundedStorage(_storage(url, home), limit_s))


def address_of(url: str) -> str:
    """The address, from whatever folder it is read: a folder as its absolute path. Raises UsageError."""
    path = url.removeprefix("file://")
    return url if _is_elsewhere(path) else str(expanded(path, "registry.url").absolute())


def _storage(url: str | None, home: Path | None) -> Storage:
    if url is None:
        return FolderStorage((home or home_folder()) / FOLDER)
    if not _is_elsewhere(url.removeprefix("file://")):
        return FolderStorage(Path(address_of(url)))
    from .storage.bucket_storage import BucketStorage

    return BucketStorage(url)


def _is_elsewhere(path: str) -> bool:
    return "://" in path or "::" in path
