"""How long the broker may hold a fetch for which it has no records."""

import time
from collections.abc import Callable
from typing import Any, Final

SHORT_WAIT_MS: Final = 100
"""A fetch returns at once if there are records. But a partition that is resumed or sought during a fetch of other
partitions is fetched only after that fetch, so this bounds the delay."""

LONG_WAIT_MS: Final = 500
QUIET_S: Final = 5.0


class FetchWait:
    """Long while nothing comes: most topics that a worker reads, of cancels and of retries, are empty most of the time.

    With short waits alone, their fetches were half of what an idle worker does (docs/decisions/0021).
    """

    def __init__(self, consumer: Any, clock: Callable[[], float] = time.monotonic) -> None:
        """``consumer``: aiokafka's."""
        self._consumer = consumer
        self._clock = clock
        self._busy_at_s = clock()

    def polled(self, *, busy: bool) -> None:
        """A poll has ended. ``busy``: it had records, or a partition is paused, and may be resumed during a fetch."""
        now_s = self._clock()
        if busy:
            self._busy_at_s = now_s
        is_quiet = now_s - self._busy_at_s > QUIET_S
        # aiokafka reads it for each fetch.
        self._consumer._fetcher._fetch_max_wait_ms = LONG_WAIT_MS if is_quiet else SHORT_WAIT_MS
