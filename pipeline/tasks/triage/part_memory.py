"""Parts of fitted models in memory: those that were used last; the others are read from their files again."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

Part = Callable[[], T]
"""Returns a part of a model, which may have left the memory in the meantime."""


def held(part: T) -> Part[T]:
    """A part that never leaves."""
    return lambda: part


DEFAULT_BYTES: Final = 256_000_000
"""Some 50 models with a static tier of 5 MB, or 2 000 heads of 77 labels."""


class PartMemory:
    """What the fitted models of a process share. Threads may use it at once.

    Args:
        max_bytes: of all parts that are kept. The part that was used last is kept in any case.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._numbers = 0
        self._lock = (
            threading.RLock()
        )  # `_drop` may be called in the middle of another call of the same thread

    def keep(self, owner: object, part: T, size: int, read: Part[T]) -> Part[T]:
        """The part, from memory or by ``read``. It raises what ``read`` raises.

        ``size`` is in bytes. The part leaves with its ``owner``, which ``read`` must not hold.
        """
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._put(number, part, size)
        weakref.finalize(owner, self._drop, number)

        def found() -> T:
            with self._lock:
                kept = self._kept.get(number)
                if kept is not None:
                    self._kept.move_to_end(number)
                    again: T = kept[0]
                    return again
            again = read()
            with self._lock:
                self._put(number, again, size)
            return again

        return found

    def _put(self, number: int, part: Any, size: int) -> None:
        if number not in self._kept:
            self.bytes += size
        self._kept[number] = (part, size)
        self._kept.move_to_end(number)
        while self.bytes > self.max_bytes and len(self._kept) > 1:
            _, (_, left) = self._kept.popitem(last=False)
            self.bytes -= left

    def _drop(self, number: int) -> None:
        with self._lock:
            kept = self._kept.pop(number, None)
            if kept is not None:
                self.bytes -= kept[1]
