"""Whether there is memory for one more release beside those that are loaded."""

from collections.abc import Iterable
from typing import Final

from ...errors import ModelError
from ...models.releases.release import Release
from ...runtime.memory_left import memory_left

IN_MEMORY: Final = 2.0
"""What a model takes, in times of its files. Measured of models that have run: 1.6 to 2.1 (encoders, a decoder)."""

MB: Final = 1e6


class NoRoom(ModelError):
    """There is no memory for a release now; there may be later."""


def estimated_bytes(releases: Iterable[Release]) -> int:
    """What these releases take together: equal files of theirs, as an encoder that they share, are loaded once."""
    files = {file.sha256: file.size_bytes for release in releases for file in release.files.values()}
    return round(IN_MEMORY * sum(files.values()))


def check_room(release: Release, loaded: Iterable[Release], limit: int | None) -> None:
    """Raise NoRoom unless the release can be loaded beside those that are. ``limit``: for all of them, in bytes."""
    before = list(loaded)
    total = estimated_bytes([*before, release])
    more = total - estimated_bytes(before)
    if limit is not None and total > limit:
        raise NoRoom(
            f"The release {release.task}@{release.version} needs about {more / MB:.0f} MB of memory, "
            f"{total / MB:.0f} MB with those that are loaded, and {limit / MB:.0f} MB are allowed: raise "
            "`memory_bytes` in [registry]."
        )
    left = memory_left()
    if left is not None and more > left:
        raise NoRoom(
            f"The release {release.task}@{release.version} needs about {more / MB:.0f} MB of memory, and "
            f"{left / MB:.0f} MB are left: give the worker more memory."
        )
