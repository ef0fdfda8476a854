"""What a worker's log holds of the libraries under it."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from ..telemetry import configure_logging

LIBRARIES: Final = ("aiokafka", "faust", "mode")
QUIET_S: Final = 10.0
MOST: Final = 1_000


class Damper(logging.Filter):
    """Lets a library say the same thing once in ten seconds: with its broker gone, aiokafka says it 70 times in one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        now, what = self._clock(), (record.name, str(record.msg))
        if now - self._said_at.get(what, -math.inf) < QUIET_S:
            return False
        if len(self._said_at) >= MOST:
            self._said_at.clear()
        self._said_at[what] = now
        return True


def configure_worker_logging(level: str) -> None:
    """Our own sentences, and of the libraries' what may be the matter; at level debug everything that is said."""
    configure_logging(level)
    if level == "debug":
        return
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Damper())
