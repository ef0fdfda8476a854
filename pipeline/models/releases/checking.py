"""What may be wrong with a release. A worker that is told a fault here has changed nothing yet."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..files import sha256_of
from .faults import BadRelease
from .names import is_task_name
from .paths import faults_of_paths
from .release import FORMAT, Release, StoredFile

SHA256: Final = re.compile(r"[0-9a-f]{64}")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MAX_FILES: Final = 10_000
MAX_BYTES: Final = 1 << 44


def check_manifest(release: Release, task: str, version: str) -> None:
    """Raise BadRelease unless the manifest is that of the version, and its files can be laid out."""
    for fault in _faults(release, task, version):
        raise BadRelease(f"The release {task}@{version} must not be used: {fault}.")


def check_servable(release: Release) -> None:
    """Raise BadRelease unless the release was measured, passed its gate or was forced, and says where it comes from."""
    for fault in faults_of_serving(release):
        raise BadRelease(f"The release {release.task}@{release.version} must not be served: {fault}.")


def faults_of_serving(release: Release) -> Iterator[str]:
    """Why no worker may serve it."""
    if not release.origin.source.strip():
        yield "its lineage is missing, it does not say what it was made from"
    if release.gate is None:
        yield "it was not measured, no gate has judged it"
    elif not release.gate.open:
        yield f"its gate is closed ({' '.join(release.gate.failures) or 'it says no reason'})"


def check_folder(folder: Path, release: Release) -> None:
    """Raise BadRelease unless the folder has each file of the release with its content."""
    for path, file in release.files.items():
        if fault := fault_of_file(folder, path, file):
            raise BadRelease(f"The release {release.task}@{release.version} is damaged here: {path} {fault}.")


def fault_of_file(folder: Path, path: str, file: StoredFile) -> str | None:
    """What is wrong with a file below a folder."""
    place = folder
    for part in path.split("/"):
        place /= part
        if place.is_symlink():
            return "is a link, or below one"
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if found.st_size != file.size_bytes:
        return f"has {found.st_size} bytes instead of {file.size_bytes}"
    if sha256_of(place) != file.sha256:
        return "has another digest than its manifest says"
    return None


def _faults(release: Release, task: str, version: str) -> Iterator[str]:
    if release.format != FORMAT:
        yield f"it has the format {release.format}, and this inferstream reads {FORMAT}: install a newer one"
    if release.task != task or not is_task_name(release.task):
        yield f"its manifest is for the task {release.task[:100]!r}"
    if not NAME.fullmatch(release.name):
        yield f"its model has the name {release.name[:100]!r}"
    if not 1 <= len(release.files) <= MAX_FILES:
        yield f"it has {len(release.files)} files, and 1 to {MAX_FILES} are allowed"
    for path, file in release.files.items():
        if not SHA256.fullmatch(file.sha256):
            yield f"{path[:400]!r} has no sha256"
        if not 0 <= file.size_bytes <= MAX_BYTES:
            yield f"{path[:400]!r} has a size of {file.size_bytes} bytes"
    yield from faults_of_paths(release.files)
    if release.version != version:
        yield f"its content has the version {release.version}"
