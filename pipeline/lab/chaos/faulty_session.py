"""A session that fails on demand, and counts the rows that reach it."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from numpy.typing import NDArray

from ...errors import DeviceError, DeviceOutOfMemory, DeviceUnavailable
from ...runtime.sessions import Session
from ..load.requests import ABORTS, AWAY, DUE, FAILS

TIMES_AWAY: Final = 2
"""The device is unavailable for this number of runs of one marked text."""

SMALL_TOKENS: Final = 256
"""Padded tokens that fit while the device is short of memory."""

GRACE_S: Final = 0.02
"""Allowed delay between the batcher's deadline check and the session's run on a busy machine."""


class FaultState(Struct):
    """The faults of a worker. Times are of the monotonic clock, which all processes share."""

    stalled_until: float = 0.0
    away_until: float = 0.0
    small_until: float = 0.0
    clock_off_s: float = 0.0


class DeviceCounts(Struct):
    """Rows that reached the device; ``late_rows`` after their deadline, by ``latest_s`` at most."""

    rows: int = 0
    late_rows: int = 0
    latest_s: float = 0.0


class FaultySession:
    """Runs a real session, unless a fault or a marked text forbids it."""

    def __init__(
        self,
        session: Session,
        decode: Callable[[Sequence[Sequence[int]]], Sequence[str]] | None,
        faults: Callable[[], FaultState],
        wall_clock: Callable[[], float],
    ) -> None:
        """``decode`` turns rows of token ids into texts; without it, marks in texts do nothing. ``wall_clock`` must
        be correct.
        """
        self._session = session
        self._decode = decode
        self._faults = faults
        self._wall_clock = wall_clock
        self._away: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.counts = DeviceCounts()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As `Session.run`. Raises the errors of a device; may end the process."""
        apply(self._faults(), feeds["input_ids"].size, SMALL_TOKENS)
        if self._decode is None:
            with self._counting:
                self.counts.rows += len(feeds["input_ids"])
            return self._session.run(feeds)
        texts = self._decode(feeds["input_ids"].tolist())
        self._count(texts)
        if any(ABORTS in text for text in texts):
            os.abort()
        for text in texts:
            if AWAY in text and self._away[text] < TIMES_AWAY:
                self._away[text] += 1
                raise DeviceUnavailable("The device is unavailable for this text: try again.")
        if any(FAILS in text for text in texts):
            raise DeviceError("The device cannot run this text.")
        return self._session.run(feeds)

    def _count(self, texts: Sequence[str]) -> None:
        now = self._wall_clock()
        late_s = [now - deadline for text in texts if (deadline := deadline_of(text)) is not None]
        with self._counting:
            self.counts.rows += len(texts)
            self.counts.late_rows += sum(late > GRACE_S for late in late_s)
            self.counts.latest_s = max([self.counts.latest_s, *late_s])


def apply(faults: FaultState, size: int, fits: int) -> None:
    """Wait, or raise the error of a device, as the faults of now say; ``fits`` is how much a small one runs."""
    now = time.monotonic()
    if now < faults.stalled_until:
        time.sleep(faults.stalled_until - now)
    if now < faults.away_until:
        raise DeviceUnavailable("The device is unavailable for a while: try again.")
    if now < faults.small_until and size > fits:
        raise DeviceOutOfMemory("The device is short of memory for a while.")


def deadline_of(text: str) -> float | None:
    """The deadline that is written in a text, in Unix seconds."""
    digits = text.rpartition(DUE)[2][:13] if DUE in text else ""
    return int(digits) / 1e3 if len(digits) == 13 and digits.isdigit() else None
