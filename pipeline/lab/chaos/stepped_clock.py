"""A wall clock that can be stepped forward and back."""

import time
from collections.abc import Callable


class SteppedClock:
    """The system's clock plus ``off_s``. It replaces `time.time` in the whole process."""

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self.real = real
        self.off_s = 0.0

    def __call__(self) -> float:
        return self.real() + self.off_s

    def ns(self) -> int:
        return round(self() * 1e9)
