"""Downloads from a server that fails like a real one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.file_server import FileServer, serve

from inferstream.pipeline.models.catalogue import PinnedFile
from inferstream.pipeline.models.fetching import Downloader
from inferstream.pipeline.models.http import Corrupted, Unreachable

BODY = bytes(range(256)) * 4_000  # about a megabyte
FILE = PinnedFile("model.bin", hashlib.sha256(BODY).hexdigest(), len(BODY))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        server.files["/model.bin"] = BODY
        yield server


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def downloader(pauses: list[float]) -> Iterator[Downloader]:
    with Downloader(lambda *_: None, pauses.append) as downloader:
        yield downloader


def fetch(downloader: Downloader, server: FileServer, folder: Path) -> bytes:
    downloader.fetch(server.url + "/model.bin", FILE, folder / "model.bin")
    assert [path.name for path in folder.iterdir()] == ["model.bin"]
    return (folder / "model.bin").read_bytes()


def test_whole_file_with_progress(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    with Downloader(lambda *step: seen.append(step)) as downloader:
        assert fetch(downloader, server, tmp_path) == BODY
    assert seen[-1] == ("model.bin", len(BODY), len(BODY))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_interruptions_are_continued(
    server: FileServer, downloader: Downloader, tmp_path: Path, pauses: list[float]
) -> None:
    server.cuts = [300_000, 300_000]
    assert fetch(downloader, server, tmp_path) == BODY
    starts = [wanted for _, wanted in server.asked]
    assert starts[0] is None
    assert starts[1:] == ["bytes=300000-", "bytes=600000-"]
    assert pauses == [0.5, 0.5]


def test_another_process_continues_the_download_of_a_killed_one(
    server: FileServer, downloader: Downloader, tmp_path: Path
) -> None:
    (tmp_path / f"model.bin.{FILE.sha256[:12]}.part").write_bytes(BODY[:500_000])
    assert fetch(downloader, server, tmp_path) == BODY
    assert server.asked == [("/model.bin", "bytes=500000-")]


def test_a_server_without_ranges_starts_over(
    server: FileServer, downloader: Downloader, tmp_path: Path
) -> None:
    server.with_ranges = False
    server.cuts = [400_000]
    assert fetch(downloader, server, tmp_path) == BODY


@pytest.mark.parametrize("left", [b"wrong" * 1_000, b"\0" * len(BODY), b"\0" * (len(BODY) + 5)])
def test_a_wrong_part_is_deleted(
    server: FileServer, downloader: Downloader, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / f"model.bin.{FILE.sha256[:12]}.part").write_bytes(left)
    assert fetch(downloader, server, tmp_path) == BODY


@pytest.mark.parametrize("body", [BODY[:-1] + b"?", BODY + b"more"])
def test_a_corrupt_file_is_refused(
    server: FileServer, downloader: Downloader, tmp_path: Path, body: bytes
) -> None:
    server.files["/model.bin"] = body
    with pytest.raises(Corrupted, match=r"model\.bin"):
        downloader.fetch(server.url + "/model.bin", FILE, tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_unreachable(server: FileServer, downloader: Downloader, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="status 404"):
        downloader.fetch(server.url + "/other", FILE, tmp_path / "model.bin")


def test_an_unreachable_server_fails_without_retries(
    tmp_path: Path, downloader: Downloader, pauses: list[float]
) -> None:
    with serve() as server:
        url = server.url
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        downloader.fetch(url + "/model.bin", FILE, tmp_path / "model.bin")
    assert pauses == []


def test_a_stalled_download_fails(
    server: FileServer, downloader: Downloader, tmp_path: Path, pauses: list[float]
) -> None:
    server.cuts = [300_000]
    server.statuses = []
    (tmp_path / f"model.bin.{FILE.sha256[:12]}.part").write_bytes(BODY[:100_000])
    server.statuses = [503] * 20
    with pytest.raises(Unreachable, match="status 503"):
        downloader.fetch(server.url + "/model.bin", FILE, tmp_path / "model.bin")
    assert len(pauses) == 3
    assert (tmp_path / f"model.bin.{FILE.sha256[:12]}.part").stat().st_size == 100_000
