"""Calls to a storage that hangs end, leave nothing behind, and do not pile up."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferstream.pipeline.models.releases.registry.storage.bounded_storage import MAX_HANGING, BoundedStorage
from inferstream.pipeline.models.releases.registry.storage.folder_storage import FolderStorage

BOUND_S = 0.02


class HangingStorage(FolderStorage):
    """Answers once ``answering`` is set; the threads that have called it are in ``callers``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.answering = threading.Event()
        self.callers: list[threading.Thread] = []

    def read(self, path: str, limit: int) -> bytes:
        self._wait()
        return super().read(path, limit)

    def fetch(self, path: str, target: Path, limit: int) -> None:
        self._wait()
        super().fetch(path, target, limit)

    def end(self) -> None:
        """Answer all that wait."""
        self.answering.set()
        for caller in self.callers:
            caller.join()

    def _wait(self) -> None:
        self.callers.append(threading.current_thread())
        self.answering.wait()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingStorage]:
    storage = HangingStorage(tmp_path / "registry")
    storage.create("a/file", b"content")
    yield storage
    storage.end()


def test_no_more_calls_hang_than_allowed_and_then_it_answers_again(hanging: HangingStorage) -> None:
    storage = BoundedStorage(hanging, BOUND_S)
    for _ in range(MAX_HANGING + 5):
        with pytest.raises(TimeoutError, match="has not answered in time"):
            storage.read("a/file", 100)
    assert len(hanging.callers) == MAX_HANGING
    hanging.end()
    assert BoundedStorage(hanging, 60).read("a/file", 100) == b"content"
    assert storage.names("a") == ["file"]


def test_a_transfer_that_was_given_up_leaves_no_file(hanging: HangingStorage, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(TimeoutError):
        BoundedStorage(hanging, BOUND_S).fetch("a/file", target, 100)
    hanging.end()
    assert not target.exists()


def test_what_the_storage_raises_and_returns_passes(tmp_path: Path) -> None:
    storage = BoundedStorage(FolderStorage(tmp_path), 60)
    storage.create("a/file", b"content")
    assert [found.path for found in storage.files("a")] == ["a/file"]
    storage.move("a/file", "b/file")
    assert storage.stat("a/file") is None
    with pytest.raises(FileNotFoundError):
        storage.read("a/file", 100)
    with pytest.raises(ValueError, match="bytes"):
        storage.read("b/file", 1)
    storage.remove("b/file")
    assert storage.names("b") == []


def test_a_slow_transfer_may_take_longer_than_a_call(tmp_path: Path) -> None:
    class Slow(FolderStorage):
        def fetch(self, path: str, target: Path, limit: int) -> None:
            with target.open("xb", buffering=0) as out:
                for _ in range(6):
                    out.write(b"part")
                    time.sleep(0.15)

    target = tmp_path / "target"
    BoundedStorage(Slow(tmp_path), 0.5).fetch("a/file", target, 24)
    assert target.read_bytes() == b"part" * 6


def test_a_large_file_may_be_read_in_the_registry_for_longer(tmp_path: Path) -> None:
    class Slow(FolderStorage):
        def digest(self, path: str) -> str | None:
            time.sleep(5 * BOUND_S)
            return super().digest(path)

    slow = Slow(tmp_path)
    slow.create("small", b"1")
    slow.create("large", b"1" * 1_000_000)
    storage = BoundedStorage(slow, BOUND_S)
    assert storage.digest("large")
    with pytest.raises(TimeoutError):
        storage.digest("small")
