"""Whether there is memory for one more release beside those that are loaded."""

from collections.abc import Iterable
from typing import Final

from ...engine.device import Device
from ...errors import ModelError
from ...models.releases.release import Release
from ...runtime.memory_left import memory_left
from ...runtime.model import HasMemory

IN_MEMORY: Final = 2.0
"""What a model takes, in times of its files. Measured of models that have run: 1.6 to 2.1 (encoders, a decoder)."""

MB: Final = 1e6


class NoRoom(ModelError):
    """There is no memory for a release now; there may be later."""


def estimated_bytes(releases: Iterable[Release]) -> int:
    """What these releases take together: equal files of theirs, as an encoder that they share, are loaded once."""
    files = {file.sha256: file.size_bytes for release in releases for file in release.files.values()}
    return round(IN_MEMORY * sum(files.values()))


def taken_bytes(devices: Iterable[Device]) -> int:
    """What the models on these devices have taken beside their weights, as keys and values of a decoder."""
    models = [getattr(device, "model", None) for device in set(devices)]  # a device that has stopped has none
    return sum(model.memory_bytes for model in models if isinstance(model, HasMemory))


def check_limit(releases: Iterable[Release], taken: int, limit: int | None) -> None:
    """Raise NoRoom if releases, and what their models have ``taken``, are more than ``limit`` bytes."""
    total = estimated_bytes(releases) + taken
    if limit is not None and total > limit:
        raise NoRoom(
            f"The release would take {total / MB:.0f} MB of memory with those that are loaded, and {limit / MB:.0f} MB "
            "are allowed: raise `memory_bytes` in [registry]."
        )


def check_left(release: Release, loaded: Iterable[Release]) -> None:
    """Raise NoRoom unless this process can take what the release needs beside those that are loaded."""
    before = list(loaded)
    more = estimated_bytes([*before, release]) - estimated_bytes(before)
    left = memory_left()
    if left is not None and more > left:
        raise NoRoom(
            f"The release {release.task}@{release.version} needs about {more / MB:.0f} MB of memory, and "
            f"{left / MB:.0f} MB are left: give the worker more memory."
        )
