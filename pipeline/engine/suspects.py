"""The file of suspects: contents that were on the device when a process died."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Inode, modification time and size of a file: differs once the file was replaced."""


class SuspectFile:
    """Content keys, each with the number of processes that died while it ran alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One attribute, replaced whole: a lane stores while the event loop reads, and stamp and
        # content must match.
        self._known: tuple[Stamp | None, dict[bytes, int]] = (None, {})

    @property
    def counts(self) -> dict[bytes, int]:
        """The stored counts, or the last known ones if the file cannot be read. Read only."""
        stamp = (
            self._stamp()
        )  # before the file is read: if it is replaced meanwhile, it is read again next time
        known_stamp, known = self._known
        if stamp != known_stamp:
            stored = self._read()
            self._known = (stamp, known if stored is None else stored)
        return self._known[1]

    def store(self, counts: dict[bytes, int]) -> None:
        """Replace the counts. If the file cannot be written, they hold in this process only."""
        self._known = (self._known[0], counts)
        temporary = self._path.with_name(f"{os.getpid()}-{id(self):x}.part")
        stored = msgspec.json.encode({key.hex(): count for key, count in counts.items()})
        try:
            temporary.write_bytes(stored)
            temporary.replace(self._path)
        except OSError as error:
            log.warning("The suspects of a crash cannot be stored (%s): a restart forgets them.", error)

    def _stamp(self) -> Stamp | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _read(self) -> dict[bytes, int] | None:
        with suppress(OSError, msgspec.DecodeError, ValueError):
            stored = msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
            return {bytes.fromhex(key): count for key, count in stored.items()}
        return None
