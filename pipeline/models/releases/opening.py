"""Finds the registry that the settings name."""

from pathlib import Path
from typing import Final

from ...home import expanded, home_folder
from .bounded_storage import BoundedStorage
from .folder_storage import FolderStorage
from .storage import Storage
from .store import ReleaseStore

FOLDER: Final = "registry"


def open_registry(
    url: str | None = None, home: Path | None = None, *, limit_s: float | None = None
) -> ReleaseStore:
    """The registry at a folder or an address; without one, the folder `registry` below the home folder.

    ``limit_s``: bounds each call to it. Nothing is read yet. Raises UsageError for an address that cannot be used.
    """
    storage = _storage(url, home)
    return ReleaseStore(storage if limit_s is None else BoundedStorage(storage, limit_s))


def _storage(url: str | None, home: Path | None) -> Storage:
    if url is None:
        return FolderStorage((home or home_folder()) / FOLDER)
    path = url.removeprefix("file://")
    if "://" not in path and "::" not in path:
        return FolderStorage(expanded(path, "registry.url").absolute())
    from .bucket_storage import BucketStorage

    return BucketStorage(url)
