"""A registry that may hang, as a mount that is away or a bucket that never answers: each call is bounded in time."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from .....daemon_thread import in_daemon_thread
from .storage import FileThere, Storage

T = TypeVar("T")

NO_ANSWER: Final = "it has not answered in time (`timeout_s` in [registry])"

SLOWEST: Final = 1e6
"""Bytes a second that are sent to the registry, or read in it: a file may take as much longer as its size needs."""

SOON_S: Final = 3.0
"""The bound of a call while an earlier one hangs: a worker with a hundred aliases starts without waiting for each."""

MAX_HANGING: Final = 16
"""Calls that hang at once. Each holds a thread until the system or the bucket's package gives it up."""


class BoundedStorage:
    """See `Storage`. A call that takes too long raises TimeoutError; what it does goes on in its thread."""

    def __init__(self, storage: Storage, limit_s: float) -> None:
        """``limit_s``: of a call; of a file that is fetched, how long no more of it may come."""
        self.shown = storage.shown
        self._storage = storage
        self._limit_s = limit_s
        self._hanging: set[object] = set()

    def read(self, path: str, limit: int) -> bytes:
        return self._bounded(partial(self._storage.read, path, limit))

    def create(self, path: str, content: bytes) -> None:
        self._bounded(partial(self._storage.create, path, content))

    def put(self, path: str, source: Path, sha256: str) -> None:
        self._bounded(partial(self._storage.put, path, source, sha256), _longer_s(_size_of(source)))

    def fetch(self, path: str, target: Path, limit: int) -> None:
        given_up = threading.Event()

        def fetch() -> None:
            try:
                self._storage.fetch(path, target, limit)
            finally:
                if given_up.is_set():  # the caller has removed it already
                    target.unlink(missing_ok=True)

        try:
            self._bounded(fetch, come=partial(_size_of, target))
        except TimeoutError:
            given_up.set()
            raise

    def digest(self, path: str) -> str | None:
        found = self.stat(path)
        return self._bounded(partial(self._storage.digest, path), _longer_s(found.size_bytes if found else 0))

    def stat(self, path: str) -> FileThere | None:
        return self._bounded(partial(self._storage.stat, path))

    def names(self, folder: str) -> list[str]:
        return self._bounded(partial(self._storage.names, folder))

    def files(self, folder: str) -> Iterator[FileThere]:
        yield from self._bounded(lambda: list(self._storage.files(folder)))

    def move(self, path: str, to: str) -> None:
        self._bounded(partial(self._storage.move, path, to))

    def remove(self, path: str) -> None:
        self._bounded(partial(self._storage.remove, path))

    def _bounded(
        self, work: Callable[[], T], longer_s: float = 0.0, come: Callable[[], int] = lambda: 0
    ) -> T:
        """What the work returns or raises. Raises TimeoutError, but not while ``come`` grows."""
        hanging = len(self._hanging)
        if hanging >= MAX_HANGING:
            raise TimeoutError(NO_ANSWER)
        limit_s = (min(SOON_S, self._limit_s) if hanging else self._limit_s) + longer_s
        call = in_daemon_thread(work, "registry")
        before = 0
        while not wait([call], limit_s).done:
            if (now := come()) > before:
                before = now
                continue
            self._hanging.add(call)
            call.add_done_callback(self._hanging.discard)
            raise TimeoutError(NO_ANSWER)
        try:
            return call.result()
        finally:
            del call


def _longer_s(size_bytes: int) -> float:
    return size_bytes / SLOWEST


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
