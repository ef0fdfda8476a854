"""Who is taken on when there is more than can be done: no tenant beyond its share while others wait."""

from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from ..errors import Overloaded

COME_BACK_MS = 1_000
T = TypeVar("T")


class Admission:
    """Counts what each tenant has on the device or before it. Lives on the event loop."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._running: Counter[str] = Counter()

    def check(self, tenant: str) -> None:
        """Raise Overloaded when the tenant has its share in progress and others have requests in progress, too.

        What costs the device nothing may be given even then. Alone a tenant may take all: the share is of what there
        is, among those who want it now.
        """
        running = self._running
        others = len(running) - (tenant in running)
        if others and running[tenant] >= max(1, self._max_in_flight // (others + 1)):
            raise Overloaded(
                f"This tenant has {running[tenant]} requests in progress, its share while others have some, too: send "
                "fewer at a time.",
                retry_after_ms=COME_BACK_MS,
            )

    def taken(self, tenant: str, work: Coroutine[Any, Any, T]) -> "Taken[T]":
        """Count one request of the tenant as in progress until ``work`` has ended."""
        self._running[tenant] += 1
        return Taken(self, tenant, work)

    def leave(self, tenant: str) -> None:
        """One request of the tenant is no longer in progress."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]


class Taken(Generic[T]):
    """Work that counts from the call that made it: many are taken on before the first has its turn.

    Await it, or `close` it: a coroutine that never starts runs no ``finally`` that could end the count.
    """

    def __init__(self, admission: Admission, tenant: str, work: Coroutine[Any, Any, T]) -> None:
        self._admission, self._tenant, self._work = admission, tenant, work
        self._counts = True

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            return (yield from self._work.__await__())
        finally:
            self.close()

    def close(self) -> None:
        """End the work where it stands, if it has not ended, and the count with it."""
        self._work.close()
        if self._counts:
            self._counts = False
            self._admission.leave(self._tenant)
