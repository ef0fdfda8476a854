"""What was removed from a registry, for as long as a change that began before may need it again.

A file is moved here first, then the manifests or aliases are read again, and what they name now is moved back. A
publisher looks for its files after its manifest is there. So of the two one sees the other, in whatever order they run.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from .storage.storage import Storage

TRASH: Final = "trash"
SIGN: Final = "~"
"""Instead of `/`: no path of a registry has one."""


class Removed(NamedTuple):
    """A file in the trash."""

    path: str  # where it was
    place: str  # where it is
    at: int  # seconds since 1970


class Trash:
    """The trash of a registry."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._clock = clock

    def throw(self, path: str) -> bool:
        """Move a file here. False: it is gone already."""
        try:
            self._storage.move(path, f"{TRASH}/{int(self._clock()):010}{SIGN}{path.replace('/', SIGN)}")
        except FileNotFoundError:
            return False
        return True

    def restore(self, path: str) -> bool:
        """Move a file back, the one that was thrown away last. False: it is not here."""
        for removed in self.files(path):
            with suppress(FileNotFoundError):  # another one restores it too
                if self._storage.stat(path) is None:
                    self._storage.move(removed.place, path)
            break
        return self._storage.stat(path) is not None

    def files(self, path: str = "") -> Iterator[Removed]:
        """What is here, of one path or of all; the newest first."""
        for name in sorted(self._storage.names(TRASH), reverse=True):
            at, _, rest = name.partition(SIGN)
            was = rest.replace(SIGN, "/")
            if at.isdigit() and was and path in ("", was):
                yield Removed(was, f"{TRASH}/{name}", int(at))
