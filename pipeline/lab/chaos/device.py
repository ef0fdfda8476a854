"""A session that misbehaves on demand, and that looks at what reaches it."""

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
"""So many runs of one text find the device away."""

SMALL_TOKENS: Final = 256
"""Padded tokens that a device short of memory takes."""

GRACE_S: Final = 0.02
"""From when a batch was put together to when the session is asked to run it, on a busy machine."""


class Mood(Struct):
    """How a worker's machine is: times of the monotonic clock, which all processes share, and its clock's error."""

    stalled_until: float = 0.0
    away_until: float = 0.0
    small_until: float = 0.0
    clock_off_s: float = 0.0


class Count(Struct):
    """What reached the device. ``late_rows`` had a deadline that was over."""

    rows: int = 0
    late_rows: int = 0
    latest_s: float = 0.0


class RehearsedSession:
    """Runs a real session, unless the mood or a word in a text says otherwise."""

    def __init__(
        self,
        session: Session,
        decode: Callable[[Sequence[Sequence[int]]], Sequence[str]],
        mood: Callable[[], Mood],
        wall_clock: Callable[[], float],
    ) -> None:
        """``decode`` turns token ids back into texts; ``wall_clock`` must be the one that is right."""
        self._session, self._decode, self._mood, self._wall_clock = session, decode, mood, wall_clock
        self._away: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.count = Count()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As `Session.run`. Raises DeviceUnavailable, DeviceOutOfMemory, DeviceError; may end the process."""
        self._suffer(self._mood(), feeds["input_ids"].size)
        texts = self._decode(feeds["input_ids"].tolist())
        self._look(texts)
        if any(ABORTS in text for text in texts):
            os.abort()
        for text in texts:
            if AWAY in text and self._away[text] < TIMES_AWAY:
                self._away[text] += 1
                raise DeviceUnavailable("The rehearsed device is away: try again.")
        if any(FAILS in text for text in texts):
            raise DeviceError("The rehearsed device cannot run this text.")
        return self._session.run(feeds)

    def _suffer(self, mood: Mood, padded_tokens: int) -> None:
        now = time.monotonic()
        if now < mood.stalled_until:
            time.sleep(mood.stalled_until - now)
        if now < mood.away_until:
            raise DeviceUnavailable("The rehearsed device is away for a while: try again.")
        if now < mood.small_until and padded_tokens > SMALL_TOKENS:
            raise DeviceOutOfMemory("The rehearsed device has little memory for a while.")

    def _look(self, texts: Sequence[str]) -> None:
        """Count the rows, and those whose deadline was over."""
        now = self._wall_clock()
        late_s = [now - due for text in texts if (due := due_of(text)) is not None]
        with self._counting:
            self.count.rows += len(texts)
            self.count.late_rows += sum(late > GRACE_S for late in late_s)
            self.count.latest_s = max(self.count.latest_s, *late_s, 0.0) if late_s else self.count.latest_s


def due_of(text: str) -> float | None:
    """The deadline that a text tells, in Unix seconds."""
    digits = text.rpartition(DUE)[2][:13] if DUE in text else ""
    return int(digits) / 1e3 if len(digits) == 13 and digits.isdigit() else None
