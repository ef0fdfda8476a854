"""The folder for models, caches and measurements on this machine, and paths that begin with `~`."""

import os
from pathlib import Path

from .errors import UsageError


def home_folder() -> Path:
    """INFERSTREAM_HOME if it is set, else the user's cache folder for inferstream.

    Raises UsageError if neither can be found: a container may run as a user without a home.
    """
    if home := os.environ.get("INFERSTREAM_HOME"):
        return expanded(home, "INFERSTREAM_HOME")
    import platformdirs

    try:
        folder = platformdirs.user_cache_path("inferstream", appauthor=False)
    except RuntimeError:  # a user id without an entry, and no HOME; older releases return `~` as it is
        folder = Path("~")
    if not folder.is_absolute():
        raise UsageError(
            "This user has no home folder: set INFERSTREAM_HOME to a folder for models and caches."
        )
    return folder


def expanded(path: str, name: str) -> Path:
    """``path`` with `~` replaced by the home folder. ``name`` says where it was given. Raises UsageError."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{name} is {path}, and the home folder of this user is not known: write a path without `~`."
        ) from error


def make_folder(folder: Path) -> Path:
    """Create the folder below the home folder. Raises UsageError that names INFERSTREAM_HOME."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot create {folder} ({error.strerror}): set INFERSTREAM_HOME to a folder that you can write to."
        ) from error
    return folder


def writable_folder(folder: Path) -> Path:
    """Create the folder, before work that is kept there. Raises UsageError that names INFERSTREAM_HOME."""
    make_folder(folder)
    if not os.access(folder, os.W_OK):
        raise UsageError(
            f"Nothing can be kept in {folder}, which is read-only: set INFERSTREAM_HOME to a folder that you can write "
            "to."
        )
    return folder
