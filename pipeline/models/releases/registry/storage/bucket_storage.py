"""A registry in a bucket, through fsspec and the package of its kind."""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec

from .....errors import UsageError
from ....files import sha256_of
from ...faults import RegistryError
from .storage import FileThere

PACKAGES: Final = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "memory": "",
}
"""The kinds of buckets, with their packages: those of which a file can be created so that one of two creators wins. In
the others fsspec looks whether the file is there, and then writes it.
"""

PROBE: Final = "exclusive"
"""A file that shows whether a store of these kinds keeps that promise: not every one that speaks S3 does."""


class BucketStorage:
    """See `Storage`. A bucket has a file when its last byte has come.

    Its package is asked for the bucket at the first call, since it may look for credentials in the network.
    """

    def __init__(self, url: str) -> None:
        """Raises UsageError for an address of no such kind, or whose package is not here."""
        self.shown = without_password(url)
        kind = urlsplit(url).scheme
        if kind not in PACKAGES or "::" in url:
            raise UsageError(
                f"A registry cannot be at {self.shown}: use a folder, or an address that begins with "
                f"{', '.join(f'{one}://' for one in PACKAGES if one != 'memory')}."
            )
        try:
            fsspec.get_filesystem_class(kind)
        except ImportError as error:
            raise UsageError(
                f"The registry {self.shown} needs the package {PACKAGES[kind]}: pip install {PACKAGES[kind]}."
            ) from error
        self._url = url
        self._exclusive = False

    @cached_property
    def _bucket(self) -> tuple[Any, str]:
        """Its file system, and the path of the registry in it. Raises UsageError for an address that cannot be read."""
        try:
            fs, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except ValueError as error:
            raise UsageError(
                f"The registry {self.shown} has an address that cannot be read ({error})."
            ) from error
        return fs, root.rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._bucket[0]

    @property
    def _root(self) -> str:
        return self._bucket[1]

    def read(self, path: str, limit: int) -> bytes:
        found = self.stat(path)
        if found is None:
            raise FileNotFoundError(path)
        if found.size_bytes > limit:
            raise ValueError(f"{path} has more than {limit} bytes")
        content: bytes = self._fs.cat_file(self._at(path))
        return content

    def create(self, path: str, content: bytes) -> None:
        if not self._exclusive:
            self._probe()
        self._fs.pipe_file(self._at(path), content, mode="create")

    def put(self, path: str, source: Path, sha256: str) -> None:
        self._fs.put_file(str(source), self._at(path))
        if sha256_of(source) != sha256:
            self.remove(path)
            raise ValueError(f"{source} changed while it was read")

    def fetch(self, path: str, target: Path, limit: int) -> None:
        found = self.stat(path)
        if found is None:
            raise FileNotFoundError(path)
        if found.size_bytes <= limit:
            self._fs.get_file(self._at(path), str(target))
        else:
            target.write_bytes(self._fs.cat_file(self._at(path), start=0, end=limit + 1))

    def digest(self, path: str) -> str | None:
        return None

    def stat(self, path: str) -> FileThere | None:
        try:
            found = self._fs.info(self._at(path))
        except FileNotFoundError:
            return None
        return None if found["type"] == "directory" else self._there(found)

    def names(self, folder: str) -> list[str]:
        try:
            found = self._fs.ls(self._at(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(one.rstrip("/").rpartition("/")[2] for one in found)

    def files(self, folder: str) -> Iterator[FileThere]:
        try:
            found = self._fs.find(self._at(folder), detail=True)
        except FileNotFoundError:
            return
        yield from map(self._there, found.values())

    def move(self, path: str, to: str) -> None:
        self._fs.cp_file(self._at(path), self._at(to))
        self._fs.rm_file(self._at(path))

    def remove(self, path: str) -> None:
        try:
            self._fs.rm_file(self._at(path))
        except FileNotFoundError:
            return

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _there(self, found: dict[str, Any]) -> FileThere:
        path = str(found["name"])[len(self._root) :].lstrip("/")
        return FileThere(path, int(found["size"] or 0), _modified(found))

    def _probe(self) -> None:
        """Raise RegistryError unless a file that is there cannot be created again."""
        for _ in range(2):
            try:
                self._fs.pipe_file(self._at(PROBE), b"", mode="create")
            except FileExistsError:
                self._exclusive = True
                return
        raise RegistryError(
            f"The registry {self.shown} replaces a file that must not exist: it cannot keep two promoters apart. Use a "
            "store that knows If-None-Match."
        )


def without_password(url: str) -> str:
    """An address for a sentence."""
    host = urlsplit(url).netloc
    return url.replace(f"{host.rpartition('@')[0]}@", "…@", 1) if "@" in host else url


def _modified(found: dict[str, Any]) -> float:
    """The packages of buckets call it by different names. 0: not said, which counts as old."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = found.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
