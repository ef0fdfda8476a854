"""The answers of a folder that cannot be written: on a full disk, a read-only one, or without the right."""

import sqlite3
import threading
from pathlib import Path
from typing import Final

from diskcache import Disk

DATABASE: Final = "cache.db"
SELECT: Final = "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = ?"


class ReadOnlyCache:
    """Looks values up as diskcache's FanoutCache does, which cannot open a folder without writing to it."""

    def __init__(self, path: Path, shards: int, disk: type[Disk]) -> None:
        """Raises sqlite3.Error if a shard cannot be read."""
        self._lock = threading.Lock()
        self._disks = [disk(str(path / f"{number:03d}")) for number in range(shards)]
        self._connections: list[sqlite3.Connection] = []
        try:
            for number in range(shards):
                uri = f"{(path / f'{number:03d}' / DATABASE).absolute().as_uri()}?mode=ro"
                connection = sqlite3.connect(uri, uri=True, timeout=0, check_same_thread=False)
                self._connections.append(connection)
                connection.execute(f"{SELECT} LIMIT 0", (b"", True))
        except BaseException:
            self.close()
            raise

    def __getitem__(self, key: bytes) -> object:
        """The stored value. Raises KeyError, or sqlite3.Error."""
        shard = self._disks[0].hash(key) % len(self._disks)
        disk_key, raw = self._disks[shard].put(key)
        with self._lock:
            row = self._connections[shard].execute(SELECT, (disk_key, raw)).fetchone()
        if row is None:
            raise KeyError(key)
        mode, filename, value = row
        try:
            return self._disks[shard].fetch(mode, filename, value, False)
        except OSError as error:
            raise KeyError(key) from error

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
