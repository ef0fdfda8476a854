"""A worker's log: which messages of the libraries it shows."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from ..telemetry import configure_logging

LIBRARIES: Final = ("aiokafka", "faust", "mode")
QUIET_S: Final = 10.0
"""Seconds in which a library's message is not repeated."""

OF_A_START: Final = (
    "Group Coordinator Request failed",  # Kafka makes the topic of the offsets for its first group
    "Marking the coordinator dead",
    "Heartbeat failed for group %s because it is rebalancing",
    "Heartbeat failed for group %s: coordinator",
)
"""Begins of messages that aiokafka logs as errors although a healthy group has them: when it starts, and when
a member joins or leaves. They are shown if they go on for longer than `QUIET_S`."""

FORGOTTEN_S: Final = 60.0
"""Seconds without such a message after which it counts as new again."""

MAX_MESSAGES: Final = 1_000
"""Messages that are remembered. Beyond that all are forgotten, and each may be logged once more."""


class Damper(logging.Filter):
    """Passes each message of a library once in 10 s: without its broker aiokafka logs one 70 times a second."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._logged_at: dict[tuple[str, str], float] = {}
        self._began_at: dict[tuple[str, str], float] = {}
        self._seen_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        now = self._clock()
        message = (record.name, str(record.msg))
        if message[1].startswith(OF_A_START) and not self._goes_on(message, now):
            return False
        if now - self._logged_at.get(message, -math.inf) < QUIET_S:
            return False
        if len(self._logged_at) >= MAX_MESSAGES:
            self._logged_at.clear()
        self._logged_at[message] = now
        return True

    def _goes_on(self, message: tuple[str, str], now: float) -> bool:
        """Whether this message of a start has come again and again for longer than `QUIET_S`."""
        if now - self._seen_at.get(message, -math.inf) > FORGOTTEN_S:
            self._began_at[message] = now
        self._seen_at[message] = now
        return now - self._began_at[message] >= QUIET_S


def configure_worker_logging(level: str) -> None:
    """Log our own messages, and the warnings of the libraries; at level debug everything."""
    configure_logging(level)
    if level == "debug":
        return
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Damper())
