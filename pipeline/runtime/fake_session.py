"""A session without a model: for tests and rehearsals of everything around the device."""

import math
import threading
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from ..clock import FakeClock
from ..errors import DeviceError, DeviceOutOfMemory
from .model import Feeds

PATIENCE_S = 10.0


class FakeSession:
    """Hands the token ids of each row back as its output vector, takes the time it is told, fails on demand.

    Like the real one it may be called from several threads. ``runs`` keeps the ids of every run, failed ones too.
    """

    provider = "fake"

    def __init__(
        self,
        *,
        clock: FakeClock | None = None,
        cost_ms: Callable[[int, int], float] | None = None,
        poison: Collection[int] = (),
        max_padded_tokens: float = math.inf,
    ) -> None:
        """Without a ``clock`` a run takes no time.

        Args:
            cost_ms: of a run of (rows, length); the clock is moved by it.
            poison: token ids that make a run fail with DeviceError.
            max_padded_tokens: a larger run fails with DeviceOutOfMemory; may be changed at any time.
        """
        self.runs: list[NDArray[np.int64]] = []
        self.max_padded_tokens = max_padded_tokens
        self._clock, self._cost_ms, self._poison = clock, cost_ms, list(poison)
        self._changed = threading.Condition()
        self._stalled = False

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        """Run ``feeds["input_ids"]``, of shape (rows, length). Raises DeviceError, DeviceOutOfMemory."""
        ids = feeds["input_ids"]
        with self._changed:
            self.runs.append(ids)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._stalled, PATIENCE_S):
                raise DeviceError("The stalled session was never released.")
        if self._clock is not None and self._cost_ms is not None:
            self._clock.advance(self._cost_ms(*ids.shape) / 1e3)
        if ids.size > self.max_padded_tokens:
            raise DeviceOutOfMemory(f"{ids.size} padded tokens do not fit: send fewer.")
        if np.isin(ids, self._poison).any():
            raise DeviceError("The model cannot run this input: it holds a poisoned token.")
        return [ids.astype(np.float32)]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, length) of every run."""
        return [(ids.shape[0], ids.shape[1]) for ids in self.runs.copy()]

    def stall(self) -> None:
        """Hold every run that is begun from now on, until `release`."""
        with self._changed:
            self._stalled = True

    def release(self) -> None:
        """Let the held runs go on."""
        with self._changed:
            self._stalled = False
            self._changed.notify_all()

    def wait_for_runs(self, count: int) -> None:
        """Block until so many runs have begun. Raises TimeoutError after 10 s."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.runs) >= count, PATIENCE_S):
                raise TimeoutError(f"{len(self.runs)} of {count} runs have begun.")
