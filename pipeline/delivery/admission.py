"""Fair shares of the window: of several active tenants none gets more than its share."""

import math
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

from ..errors import Overloaded

RETRY_AFTER_MS: Final = 1_000
T = TypeVar("T")


class Admission:
    """Counts what each tenant has in the window, in requests and in bytes. Lives on the event loop.

    The device itself is shared by work, see `engine/account.py`. This keeps one tenant from filling
    the window, behind which the requests of others could not be read.
    """

    def __init__(self, max_in_flight: int, max_bytes: float = math.inf) -> None:
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._running: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @property
    def in_progress(self) -> dict[str, int]:
        """Admitted requests that have not ended, by tenant. Tenants without any are left out."""
        return dict(self._running)

    def is_within_share(self, tenant: str) -> bool:
        """Whether one more request of the tenant may go to the device.

        Each active tenant gets window / active tenants; a single one may use the whole window. The
        first request of a tenant always is within its share.
        """
        running = self._running
        others = len(running) - (tenant in running)
        if not others or tenant not in running:
            return True
        is_within_count = running[tenant] < self._max_in_flight // (others + 1)
        return is_within_count and self._bytes[tenant] < self._max_bytes / (others + 1)

    def refusal(self, tenant: str) -> Overloaded:
        """The error for a request beyond the tenant's share."""
        return Overloaded(
            f"This tenant has {self._running[tenant]} requests with {self._bytes[tenant]} bytes in progress, "
            "its share while other tenants are active: send fewer at a time.",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def admitted(self, tenant: str, size: int, work: Coroutine[Any, Any, T]) -> "Admitted[T]":
        """Count one request of the tenant, of ``size`` bytes, as in progress until ``work`` has ended."""
        self._running[tenant] += 1
        self._bytes[tenant] += size
        return Admitted(self, tenant, size, work)

    def leave(self, tenant: str, size: int) -> None:
        """One request of the tenant is no longer in progress."""
        self._running[tenant] -= 1
        self._bytes[tenant] -= size
        if not self._running[tenant]:
            del self._running[tenant]
            del self._bytes[tenant]


class Admitted(Generic[T]):
    """Work that is counted from its construction on: one poll admits many records at once.

    Await it, or `close` it: a coroutine that never starts runs no ``finally`` to end the count.
    """

    def __init__(self, admission: Admission, tenant: str, size: int, work: Coroutine[Any, Any, T]) -> None:
        self._admission = admission
        self._tenant = tenant
        self._size = size
        self._work = work
        self._counts = True

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            return (yield from self._work.__await__())
        finally:
            self.close()

    def close(self) -> None:
        """End the work if it has not ended, and its count."""
        self._work.close()
        if self._counts:
            self._counts = False
            self._admission.leave(self._tenant, self._size)
