"""Finds the registry that the settings name."""

from pathlib import Path
from typing import Final

from ...home import expanded, home_folder
from .folder_storage import FolderStorage
from .store import ReleaseStore

FOLDER: Final = "registry"


def open_registry(url: str | None = None, home: Path | None = None) -> ReleaseStore:
    """The registry at a folder or an address; without one, the folder `registry` below the home folder.

    Nothing is read yet. Raises UsageError for an address that cannot be used.
    """
    if url is None:
        return ReleaseStore(FolderStorage((home or home_folder()) / FOLDER))
    path = url.removeprefix("file://")
    if "://" not in path and "::" not in path:
        return ReleaseStore(FolderStorage(expanded(path, "registry.url").absolute()))
    from .bucket_storage import BucketStorage

    return ReleaseStore(BucketStorage(url))
