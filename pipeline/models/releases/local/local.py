"""Releases on this machine: ``<home>/releases/<version>/``, made of ``<home>/objects`` by hard links.

A release folder is complete or absent. Two processes may lay out the same release at once; one that is killed leaves
parts behind, which the next one removes.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from ....errors import ModelError
from ....home import home_folder, make_folder
from ....locks import lock_file
from ...files import publish
from ...progress import Progress
from ..checking import check_folder, check_manifest, check_servable, fault_of_file
from ..faults import BadRelease
from ..paths import OWN_FILE
from ..registry.layout import object_path
from ..registry.sealed import LIMIT, seal, unseal
from ..registry.store import ReleaseStore
from ..release import Release, StoredFile

log = logging.getLogger(__name__)

RELEASES_HERE: Final = "releases"
PART: Final = ".part"
LOCK_INTERVAL_S: Final = 0.1
SPARE_BYTES: Final = 64_000_000
"""Of the disk, left free for others."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """For callers that show none."""


class LocalReleases:
    """Fetches releases from a registry and keeps them below a home folder. Blocks: call it in a thread."""

    def __init__(
        self, store: ReleaseStore, home: Path | None = None, progress: Progress = no_progress
    ) -> None:
        self._store = store
        self._home = home or home_folder()
        self._progress = progress

    @property
    def folder(self) -> Path:
        """The folder of all releases."""
        return self._home / RELEASES_HERE

    def lay_out(self, release: Release) -> Path:
        """The folder with the release, verified file by file: a home folder for `ModelRegistry`.

        Raises BadRelease for one that must not be served or is damaged in the registry, RegistryError if that
        cannot be read, ModelError if this machine has no space. What was there before stays as it is.
        """
        check_manifest(release, release.task, release.version)
        check_servable(release)
        folder = self.folder / release.version
        if not self._is_whole(folder, release):
            make_folder(self.folder)
            try:
                self._lay_out_alone(folder, release)
            except OSError as error:
                raise ModelError(
                    f"The release {release.task}@{release.version} cannot be stored in {self.folder}: "
                    f"{error.strerror or error}."
                ) from error
        with suppress(OSError):  # a folder that is read-only
            os.utime(folder)  # it is in use: see `collecting`
        return folder

    def _lay_out_alone(self, folder: Path, release: Release) -> None:
        with self._locked(release.version) as alone:
            if alone:
                self._remove_parts(release.version)
            if not self._is_whole(folder, release):  # another process may have done it
                self._make(folder, release)

    def laid_out(self) -> Iterator[Release]:
        """The manifests of the releases on this machine; others are passed over."""
        for path in sorted(self.folder.glob(f"*/{OWN_FILE}")):
            with suppress(BadRelease, OSError):
                yield read_own(path.parent)

    def _is_whole(self, folder: Path, release: Release) -> bool:
        if not folder.exists():
            return False
        try:
            check_folder(folder, release)
            read_own(folder)
        except (BadRelease, OSError) as error:
            log.warning("%s It is laid out again.", error)
            return False
        return True

    def _make(self, folder: Path, release: Release) -> None:
        """Lay the release out beside its place, then put it there."""
        self._check_space(release)
        part = self.folder / f".{release.version}.{secrets.token_hex(6)}{PART}"
        try:
            for number, (path, file) in enumerate(release.files.items()):
                self._progress(f"laying out {release.task}@{release.version}", number, len(release.files))
                target = part / path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._place(file, target)
                if fault := fault_of_file(part, path, file):  # also that of a link to a damaged object
                    raise BadRelease(f"{path} of {release.task}@{release.version} {fault}.")
            (part / OWN_FILE).write_bytes(seal(release))
            self._put(part, folder, release)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _put(self, part: Path, folder: Path, release: Release) -> None:
        """Give the folder its name. If another process was faster, its folder stays."""
        try:
            part.rename(folder)
        except OSError:
            if self._is_whole(folder, release):
                return
            aside = self.folder / f".{release.version}.{secrets.token_hex(6)}{PART}"
            folder.rename(aside)  # damaged; who has its files open keeps them
            part.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)

    def _place(self, file: StoredFile, target: Path) -> None:
        """The file at ``target``: a link to the object where the file system has links, else a copy."""
        cached = self._home / object_path(file.sha256)
        for last in (False, True):
            if fault_of_file(cached.parent, cached.name, file):
                self._fetch(file, cached)
            with suppress(OSError):
                os.link(cached, target)
                return
            try:
                shutil.copyfile(cached, target)
                return
            except FileNotFoundError:  # a collection of garbage has just removed it
                if last:
                    raise

    def _fetch(self, file: StoredFile, cached: Path) -> None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_name(f"{cached.name}.{secrets.token_hex(6)}{PART}")
        try:
            self._store.fetch_object(file, part)
            if fault := fault_of_file(part.parent, part.name, file):
                raise BadRelease(
                    f"The object {file.sha256[:12]}… in the registry {self._store.shown} is damaged: it {fault}."
                )
            publish(part, cached)
        finally:
            part.unlink(missing_ok=True)

    def _check_space(self, release: Release) -> None:
        """Raise ModelError if the disk is too small for what is not here yet."""
        missing = {file.sha256: file.size_bytes for file in release.files.values()}
        needed = sum(
            size for sha256, size in missing.items() if not (self._home / object_path(sha256)).exists()
        )
        free = shutil.disk_usage(self.folder).free
        if needed and needed + SPARE_BYTES > free:
            raise ModelError(
                f"The release {release.task}@{release.version} needs {needed / 1e6:.0f} MB more in {self._home}, and "
                f"{free / 1e6:.0f} MB are free: remove something, or set INFERSTREAM_HOME to a larger disk."
            )

    def _remove_parts(self, version: str) -> None:
        """What a process left that was killed."""
        for part in self.folder.glob(f".{version}.*{PART}"):
            shutil.rmtree(part, ignore_errors=True)

    @contextmanager
    def _locked(self, version: str, wait: Callable[[float], None] = time.sleep) -> Iterator[bool]:
        """One process lays out a version, the others wait for it. False where there are no locks."""
        with lock_of(self.folder / version).open("ab") as file:
            while (alone := _try_lock(file)) is None:
                wait(LOCK_INTERVAL_S)
            yield alone


def lock_of(folder: Path) -> Path:
    """The file that a process locks which makes or removes a release folder."""
    return folder.with_name(f".{folder.name}.lock")


def _try_lock(file: IO[bytes]) -> bool | None:
    """None: another process has it."""
    try:
        return lock_file(file)
    except BlockingIOError:
        return None


def read_own(folder: Path) -> Release:
    """The manifest in a release folder. Raises BadRelease, OSError."""
    with (folder / OWN_FILE).open("rb") as file:
        release = unseal(file.read(LIMIT), Release, f"The manifest in {folder}")
    check_manifest(release, release.task, folder.name)
    return release
