"""Who is taken on when there is more than can be done: no tenant beyond its share while others wait."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Overloaded

COME_BACK_MS = 1_000


class Admission:
    """Counts what each tenant has on the device or before it. Lives on the event loop."""

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._running: Counter[str] = Counter()

    def check(self, tenant: str) -> None:
        """Raise Overloaded when the tenant has its share in progress and others have requests in progress, too.

        It must not have more then but what costs the device nothing.

        Alone a tenant may take all: the share is of what there is, among those who want it now.
        """
        running = self._running
        others = len(running) - (tenant in running)
        if others and running[tenant] >= max(1, self._max_in_flight // (others + 1)):
            raise Overloaded(
                f"This tenant has {running[tenant]} requests in progress, its share while others have some, too: send "
                "fewer at a time.",
                retry_after_ms=COME_BACK_MS,
            )

    @contextmanager
    def taken(self, tenant: str) -> Iterator[None]:
        """One request of the tenant is in progress within the block."""
        self._running[tenant] += 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
