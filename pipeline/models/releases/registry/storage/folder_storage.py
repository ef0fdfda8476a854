"""A registry in a folder, also one that several machines mount."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ....files import sha256_of
from .storage import FileThere

NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems answer that have no hard links."""

PART: Final = ".part"
CHUNK: Final = 1 << 20


class FolderStorage:
    """See `Storage`. A file is written beside its place and then named, so that none is ever half there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = str(root)

    def read(self, path: str, limit: int) -> bytes:
        with (self.root / path).open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ValueError(f"{path} has more than {limit} bytes")
        return content

    def create(self, path: str, content: bytes) -> None:
        target = self._place(path)
        with _part(target) as part:
            _write(part, content)
            try:
                os.link(part, target)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                _write(
                    target, content, "xb"
                )  # if it is killed here, the file is not whole, and is passed over
        _sync_folder(target.parent)

    def put(self, path: str, source: Path, sha256: str) -> None:
        target = self._place(path)
        with _part(target) as part:
            shutil.copyfile(source, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if sha256_of(part) != sha256:
                raise ValueError(f"{source} changed while it was read")
            part.replace(target)
        _sync_folder(target.parent)

    def fetch(self, path: str, target: Path, limit: int) -> None:
        left = limit + 1
        with (self.root / path).open("rb") as file, target.open("xb") as out:
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                out.write(chunk)
                left -= len(chunk)

    def digest(self, path: str) -> str | None:
        return sha256_of(self.root / path)

    def stat(self, path: str) -> FileThere | None:
        try:
            found = (self.root / path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileThere(path, found.st_size, found.st_mtime)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(path.name for path in (self.root / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, folder: str) -> Iterator[FileThere]:
        for parent, _, names in os.walk(self.root / folder):
            for name in names:
                path = Path(parent, name).relative_to(self.root).as_posix()
                if found := self.stat(path):
                    yield found

    def move(self, path: str, to: str) -> None:
        target = self._place(to)
        (self.root / path).replace(target)
        _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def _place(self, path: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """A name beside the target for a file that is being written."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(6)}{PART}")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _write(path: Path, content: bytes, mode: str = "wb") -> None:
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a new name durable, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
