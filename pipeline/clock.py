"""A clock that moves only when told to, for tests and simulations."""

import threading


class FakeClock:
    """A call returns the time in seconds; only `advance` changes it. Threads may share it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward by ``seconds``."""
        with self._lock:
            self._now += seconds
