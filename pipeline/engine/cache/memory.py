"""The memory tier of the cache."""

from collections import OrderedDict


class MemoryCache:
    """Keeps the most recently used values, up to ``max_bytes``. For one thread only."""

    ENTRY_BYTES = 250
    """Measured overhead of one entry: the key, its hash slot and the object headers."""

    def __init__(self, max_bytes: int) -> None:
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes

    def get(self, key: bytes) -> bytes | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        old = self._values.pop(key, None)
        self._bytes += len(value) - (len(old) if old is not None else -self.ENTRY_BYTES)
        self._values[key] = value
        while self._bytes > self._max_bytes:
            _, dropped = self._values.popitem(last=False)
            self._bytes -= len(dropped) + self.ENTRY_BYTES

    def __len__(self) -> int:
        return len(self._values)
