"""A wall clock that can be put forward and back."""

import time
from collections.abc import Callable


class SteppedClock:
    """The system's clock, and how far it is off. Takes the place of `time.time` in all of the process."""

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self.real, self.off_s = real, 0.0

    def __call__(self) -> float:
        return self.real() + self.off_s

    def ns(self) -> int:
        return round(self() * 1e9)
