"""A session without a model, for tests of everything around the device."""

import math
import threading
from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from ..clock import FakeClock
from ..errors import DeviceError, DeviceOutOfMemory
from .graph import Feeds

TIMEOUT_S = 10.0
NO_FAILURES: Mapping[int, type[Exception]] = {}


class FakeSession:
    """A model whose output vector of a row is the row's token ids; it fails on demand.

    Several threads may call it. ``runs`` holds the ids of every run, failed ones included.
    """

    provider = "fake"

    def __init__(
        self,
        *,
        clock: FakeClock | None = None,
        cost_ms: Callable[[int, int], float] | None = None,
        poison: Collection[int] = (),
        fail_on: Mapping[int, type[Exception]] = NO_FAILURES,
        max_padded_tokens: float = math.inf,
    ) -> None:
        """Without a ``clock`` a run takes no time.

        Args:
            cost_ms: milliseconds of a run of (rows, length), by which the clock advances.
            poison: token ids that make a run fail with DeviceError.
            fail_on: the class of the error of a run, by a token id that it contains.
            max_padded_tokens: a larger run fails with DeviceOutOfMemory; may change at any time.
        """
        self.runs: list[NDArray[np.int64]] = []
        self.max_padded_tokens = max_padded_tokens
        self._clock = clock
        self._cost_ms = cost_ms
        self._failures: dict[int, type[Exception]] = {**dict.fromkeys(poison, DeviceError), **fail_on}
        self._changed = threading.Condition()
        self._stalled = False

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        """Run ``feeds["input_ids"]``, of shape (rows, length).

        Raises DeviceError, DeviceOutOfMemory, or an error of ``fail_on``.
        """
        ids = feeds["input_ids"]
        with self._changed:
            self.runs.append(ids)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._stalled, TIMEOUT_S):
                raise DeviceError("The stalled session was never released.")
        if self._clock is not None and self._cost_ms is not None:
            self._clock.advance(self._cost_ms(*ids.shape) / 1e3)
        if ids.size > self.max_padded_tokens:
            raise DeviceOutOfMemory(f"{ids.size} padded tokens do not fit: send fewer.")
        for token, failure in self._failures.items():
            if (ids == token).any():
                raise failure(f"The model cannot run this input: it holds the token {token}.")
        return [ids.astype(np.float32)]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(rows, length) of every run."""
        return [(ids.shape[0], ids.shape[1]) for ids in self.runs.copy()]

    def stall(self) -> None:
        """Hold every run that begins from now on, until `release`."""
        with self._changed:
            self._stalled = True

    def release(self) -> None:
        """Continue the held runs."""
        with self._changed:
            self._stalled = False
            self._changed.notify_all()

    def wait_for_runs(self, count: int) -> None:
        """Block until ``count`` runs have begun. Raises TimeoutError after 10 s."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.runs) >= count, TIMEOUT_S):
                raise TimeoutError(f"{len(self.runs)} of {count} runs have begun.")
