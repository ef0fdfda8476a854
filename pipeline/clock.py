"""Time that only its owner moves: for tests, simulations and rehearsals."""

import threading


class FakeClock:
    """Stands still until `advance`; a call gives seconds. Threads may share it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now
        self._moving = threading.Lock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        with self._moving:
            self._now += seconds
