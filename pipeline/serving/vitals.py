"""What a worker says of itself now and then."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from ..telemetry import Metrics

log = logging.getLogger(__name__)

REPORT_S: Final = 30.0
"""How often `Vitals.report` is to be called."""

TICK_S: Final = 1.0
"""How often `Vitals.tick` is to be called."""

LAG_S: Final = 1.0
DEVICE: Final = ("miss", "off")


class Vitals:
    """How much was answered since the last report, and how late the event loop runs."""

    def __init__(
        self, metrics: Metrics, running: Callable[[], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics, self._running, self._clock = metrics, running, clock
        self._ended = self._answered = self._cached = 0
        self._ticked: float | None = None
        self.lag_s = 0.0
        metrics.watch(
            "inferstream_event_loop_lag_seconds",
            "How late the event loop ran when it was last looked at.",
            lambda: self.lag_s,
        )

    async def watch(self) -> None:
        """Return never; call `tick` and `report` when it is time."""
        while True:
            for _ in range(round(REPORT_S / TICK_S)):
                self.tick()
                await asyncio.sleep(TICK_S)
            self.report()

    def tick(self) -> None:
        """Look how late this call comes, and log it when that is late enough to hurt."""
        now = self._clock()
        if self._ticked is not None:
            self.lag_s = max(0.0, now - self._ticked - TICK_S)
            if self.lag_s > LAG_S:
                log.warning(
                    "The event loop was held up for %.1f s; heartbeats and replies had to wait.", self.lag_s
                )
        self._ticked = now

    def report(self) -> None:
        """Log one sentence on what was done since the last call."""
        by_status = self._metrics.by_status
        answered = sum(by_status.values())
        ended = answered + self._metrics.failed_requests
        cached = answered - sum(by_status[status] for status in DEVICE)
        share = ""
        if answered > self._answered:
            share = (
                f", {(cached - self._cached) / (answered - self._answered):.0%} of the answers from the cache"
            )
        log.info(
            "%d requests in flight; %d ended since the last report%s.",
            self._running(),
            ended - self._ended,
            share,
        )
        self._ended, self._answered, self._cached = ended, answered, cached
