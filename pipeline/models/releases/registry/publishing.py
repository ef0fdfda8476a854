"""Publishes a release: first its objects, then its manifest; an alias may name it only afterwards."""

from collections.abc import Mapping
from pathlib import Path

from ...progress import Progress
from ..checking import check_manifest, check_servable
from ..faults import RegistryError
from ..release import Release
from .store import ReleaseStore


def publish_release(
    store: ReleaseStore, release: Release, files: Mapping[str, Path], progress: Progress
) -> Release:
    """The release as the registry has it: one that was there before stays as it is.

    ``files`` are those of this machine, by their path in the release. Killed at any line, it leaves objects that
    nothing names, and the next attempt goes on. Raises BadRelease for one that must not be served, RegistryError.
    """
    check_manifest(release, release.task, release.version)
    check_servable(release)
    put_objects(store, release, files, progress)
    store.put_release(release)
    put_objects(
        store, release, files, progress
    )  # what a collection of garbage has removed before it saw the manifest
    check_complete(store, release)
    return store.release(release.task, release.version)


def put_objects(store: ReleaseStore, release: Release, files: Mapping[str, Path], progress: Progress) -> None:
    """Copy the objects that the registry lacks."""
    for path, file in release.files.items():
        if not store.has_object(file, verified=True):
            progress(f"publishing {path} ({file.size_bytes / 1e6:.1f} MB)", 0, None)
            store.put_object(file, files[path])


def check_complete(store: ReleaseStore, release: Release) -> None:
    """Raise RegistryError unless the registry has each object of the release; some may come back from its trash."""
    for path, file in release.files.items():
        if not store.has_object(file) and not store.restore_object(file):
            raise RegistryError(
                f"The registry {store.shown} lacks {path} of {release.task}@{release.version}: promote the model "
                "itself again, on a machine that has it."
            )
