"""The difference between the clock of this machine and that of Kafka, told to the operator."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

TOLD_MS: Final = 2_000
"""A smaller difference hardly matters: deadlines are longer than that."""

REPEAT_S: Final = 600.0


class ClockSkew:
    """Compares the times that brokers give to records with those at which they were sent and acknowledged."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = -math.inf

    def observe(self, sent_ms: int, appended_ms: int, acknowledged_ms: int) -> None:
        """Warn, once in ten minutes, if the broker's time is not between the two of this machine.

        Args:
            sent_ms, acknowledged_ms: Unix time of this machine.
            appended_ms: the broker's Unix time, between the two if the clocks agree.
        """
        behind_ms = appended_ms - acknowledged_ms
        ahead_ms = sent_ms - appended_ms
        if max(behind_ms, ahead_ms) < TOLD_MS or self._clock() - self._told_at < REPEAT_S:
            return
        self._told_at = self._clock()
        log.warning(
            "The clock of this machine is %.1f s %s Kafka's: deadlines and delays of retries are judged by it. "
            "Set both clocks by NTP.",
            max(behind_ms, ahead_ms) / 1e3,
            "behind" if behind_ms > 0 else "ahead of",
        )
