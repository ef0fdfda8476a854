"""The text of one choice, as its tokens come."""

from ...runtime.text_stream import TextStream
from .stops import StopSearch


class GrowingText:
    """Knows of each token what it adds to the text, and how many tokens are settled: nothing changes that any more.

    A token is not settled while a stop string may have begun in its text, or while it is the last one of a character
    that is not complete.
    """

    def __init__(self, stream: TextStream, stops: StopSearch | None = None) -> None:
        self.added: list[str] = []
        self.settled = 0
        self.stopped = False
        self._stream = stream
        self._stops = stops
        self._open = 0  # characters of the tokens that are not settled

    def add(self, token: int) -> None:
        """One token more; not after a stop."""
        text = self._stream.add(token)
        self.added.append(text)
        self._open += len(text)
        self._read(text)
        if not self.stopped:
            self._settle()

    def finish(self) -> None:
        """No token comes any more: what is left of the text belongs to the last one."""
        if self.added and not self.stopped and (rest := self._stream.finish()):
            self.added[-1] += rest
            self._open += len(rest)
            self._read(rest)
        self.settled = len(self.added)

    def _read(self, text: str) -> None:
        if self._stops is None:
            return
        begin = self._stops.read(text)
        if begin is not None:
            self.stopped = True
            self._cut(len(text) - begin)

    def _cut(self, count: int) -> None:
        """Take the last ``count`` characters away. No token that has one of them is settled."""
        index = len(self.added) - 1
        while count > 0:
            text = self.added[index]
            self.added[index] = text[: max(0, len(text) - count)]
            count -= len(text)
            index -= 1

    def _settle(self) -> None:
        begun = self._stops.begun if self._stops is not None else 0
        last = len(self.added) - 1 if self._stream.waits else len(self.added)
        while self.settled < last:
            left = self._open - len(self.added[self.settled])
            if left < begun:
                break
            self._open = left
            self.settled += 1
