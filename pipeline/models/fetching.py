"""Resumable downloads with a check of the digest."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from .catalogue import PinnedFile
from .files import publish, sha256_of
from .http import Corrupted, Unreachable, http_client
from .progress import Progress

MAX_SMALL_BYTES = 64_000_000  # of a tokenizer or of settings, which are read into memory
MAX_STALLS = 4  # interruptions in a row without a new byte; then the download fails


class Downloader:
    """Fetches files over HTTP into `.part` files, which a later call or another process continues."""

    def __init__(self, progress: Progress, pause: Callable[[float], None] = time.sleep) -> None:
        self._progress = progress
        self._pause = pause
        self._opened: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _client(self) -> httpx.Client:
        """Opened when something is fetched: before, its settings do not matter. Raises Unreachable."""
        if self._opened is None:
            self._opened = http_client()
        return self._opened

    def get(self, url: str, headers: Mapping[str, str]) -> bytes:
        """A small file. Raises httpx.HTTPStatusError, or Unreachable if the server does not answer."""
        for attempt in range(MAX_STALLS):
            try:
                with self._client.stream("GET", url, headers=headers) as response:
                    response.raise_for_status()
                    return b"".join(_bounded(response.iter_bytes(), url))
            except httpx.HTTPStatusError as error:
                if (
                    error.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR
                    or attempt == MAX_STALLS - 1
                ):
                    raise
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if isinstance(error, (httpx.ConnectError, httpx.InvalidURL)) or attempt == MAX_STALLS - 1:
                    raise Unreachable(f"Cannot fetch {url} ({_reason(error)}).") from error
            self._pause(0.5 * 2**attempt)
        raise AssertionError("the last attempt raises")

    def fetch(
        self, url: str, file: PinnedFile, target: Path, headers: Mapping[str, str] | None = None
    ) -> None:
        """Put ``file`` at ``target``. Raises Unreachable, or Corrupted after two attempts with a wrong digest."""
        part = target.with_name(f"{target.name}.{file.sha256[:12]}.part")
        if self._receive(url, file, part, headers or {}) != file.sha256:
            part.unlink()  # perhaps only the part of an earlier call was wrong
        if (received := self._receive(url, file, part, headers or {})) == file.sha256:
            return publish(part, target)
        part.unlink()
        raise Corrupted(
            f"{file.name} from {_host(url)} has the digest {received[:12]}…, not {file.sha256[:12]}…."
        )

    def _receive(self, url: str, file: PinnedFile, part: Path, headers: Mapping[str, str]) -> str:
        """Download to ``part`` up to the required size, continuing after interruptions; returns its digest."""
        stalls = 0
        while (before := _size(part)) < file.size_bytes:
            try:
                self._continue(url, file, part, headers, before)
                if _size(part) < file.size_bytes:
                    raise httpx.RemoteProtocolError("the response ended early")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                stalls = 0 if _size(part) > before else stalls + 1
                if (
                    _size(part) == 0
                    or stalls >= MAX_STALLS
                    or isinstance(error, (httpx.ConnectError, httpx.InvalidURL))
                ):
                    raise Unreachable(f"{_host(url)} did not send {file.name} ({_reason(error)}).") from error
                self._pause(0.5 * 2**stalls)
        return sha256_of(part)

    def _continue(
        self, url: str, file: PinnedFile, part: Path, headers: Mapping[str, str], received: int
    ) -> None:
        # Not compressed: the offsets of a range must be offsets in the file.
        resume = {"Range": f"bytes={received}-"} if received else {}
        all_headers = {**headers, "Accept-Encoding": "identity", **resume}
        with self._client.stream("GET", url, headers=all_headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()
            response.raise_for_status()
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as out:
                self._copy(response, out, file, received if resumed else 0)

    def _copy(self, response: httpx.Response, out: BinaryIO, file: PinnedFile, done: int) -> None:
        """Append the response to ``out``; stops above the required size, so that it cannot fill the disk."""
        for chunk in response.iter_bytes():
            out.write(chunk)
            done += len(chunk)
            self._progress(file.name, done, file.size_bytes)
            if done > file.size_bytes:
                return


def _bounded(chunks: Iterable[bytes], url: str) -> Iterator[bytes]:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > MAX_SMALL_BYTES:
            raise Unreachable(
                f"{url} has more than {MAX_SMALL_BYTES // 1_000_000} MB, too many for settings."
            )
        yield chunk


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _host(url: str) -> str:
    return url.split("/")[2] if url.count("/") > 2 else url


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return str(error) or type(error).__name__
