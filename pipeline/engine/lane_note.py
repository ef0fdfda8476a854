"""What a lane writes into the crash note: the contents of its running step."""

from .crash_note import CrashNote


class LaneNote:
    """The slot of one lane. Written only when the contents change: rows of many steps stay the same."""

    def __init__(self, note: CrashNote, lane: int) -> None:
        self._note = note
        self._lane = lane
        self._keys: list[bytes] = []

    def write(self, keys: list[bytes]) -> None:
        """These contents are about to run."""
        if keys != self._keys:
            self._note.running(self._lane, keys)
            self._keys = keys

    def clear(self) -> None:
        """Nothing of this lane is on the device."""
        if self._keys:
            self._note.finished(self._lane)
            self._keys = []

    def keep(self) -> None:
        """The device is lost: one of the contents may be the cause, as after a crash."""
        self._note.keep()
