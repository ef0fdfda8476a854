"""Fair shares under overload: of several active tenants none gets more than its share."""

from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

from ..errors import Overloaded

RETRY_AFTER_MS: Final = 1_000
T = TypeVar("T")


class Admission:
    """Counts each tenant's requests that run or wait for the device. Lives on the event loop."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._running: Counter[str] = Counter()

    @property
    def in_progress(self) -> dict[str, int]:
        """Admitted requests that have not ended, by tenant. Tenants without any are left out."""
        return dict(self._running)

    def is_within_share(self, tenant: str) -> bool:
        """Whether one more request of the tenant may go to the device.

        Each active tenant gets window / active tenants; a single one may use the whole window.
        """
        running = self._running
        others = len(running) - (tenant in running)
        return not others or running[tenant] < max(1, self._max_in_flight // (others + 1))

    def refusal(self, tenant: str) -> Overloaded:
        """The error for a request beyond the tenant's share."""
        return Overloaded(
            f"This tenant has {self._running[tenant]} requests in progress, its share while other tenants are active: "
            "send fewer at a time.",
            retry_after_ms=RETRY_AFTER_MS,
        )

    def admitted(self, tenant: str, work: Coroutine[Any, Any, T]) -> "Admitted[T]":
        """Count one request of the tenant as in progress until ``work`` has ended."""
        self._running[tenant] += 1
        return Admitted(self, tenant, work)

    def leave(self, tenant: str) -> None:
        """One request of the tenant is no longer in progress."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]


class Admitted(Generic[T]):
    """Work that is counted from its construction on: one poll admits many records at once.

    Await it, or `close` it: a coroutine that never starts runs no ``finally`` to end the count.
    """

    def __init__(self, admission: Admission, tenant: str, work: Coroutine[Any, Any, T]) -> None:
        self._admission = admission
        self._tenant = tenant
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
            self._admission.leave(self._tenant)
