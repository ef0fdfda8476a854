"""What a worker logs about itself regularly: requests answered, and the lag of its event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from ..telemetry import WorkerMetrics

log = logging.getLogger(__name__)

REPORT_S: Final = 30.0
"""Seconds between two calls of `Vitals.report`."""

TICK_S: Final = 1.0
"""Seconds between two calls of `Vitals.tick`."""

MAX_LAG_S: Final = 1.0
"""A longer lag is logged."""

DEVICE: Final = ("miss", "off")
"""The cache statuses of answers that the device computed."""


class Vitals:
    """Counts the requests that ended since the last report, and measures how late the event loop runs.

    The host calls `tick` and `report`, or awaits `watch`, which does both.
    """

    def __init__(
        self,
        metrics: WorkerMetrics,
        running: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``running`` gives the number of requests in flight."""
        self._metrics = metrics
        self._running = running
        self._clock = clock
        self._ended = 0
        self._answered = 0
        self._cached = 0
        self._ticked: float | None = None
        self.lag_s = 0.0
        metrics.watch(
            "inferstream_event_loop_lag_seconds",
            "How late the event loop ran at the last check.",
            lambda: self.lag_s,
        )

    async def watch(self) -> None:
        """Return never; call `tick` every second and `report` every 30 s."""
        while True:
            for _ in range(round(REPORT_S / TICK_S)):
                self.tick()
                await asyncio.sleep(TICK_S)
            self.report()

    def tick(self) -> None:
        """Measure how late this call comes. Log a lag of more than `MAX_LAG_S`: heartbeats may come too late."""
        now = self._clock()
        if self._ticked is not None:
            self.lag_s = max(0.0, now - self._ticked - TICK_S)
            if self.lag_s > MAX_LAG_S:
                log.warning(
                    "The event loop was blocked for %.1f s; heartbeats and replies had to wait.", self.lag_s
                )
        self._ticked = now

    def report(self) -> None:
        """Log one sentence on the requests that ended since the last call."""
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
        self._ended = ended
        self._answered = answered
        self._cached = cached
