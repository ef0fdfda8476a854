"""The streams of a run as the reply topic shows them: what each chunk brings, and when a stream ends that was left."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, field

from ....schemas.codec import decode_reply
from ....schemas.messages import Chunk, Failure, Result
from ...broker.base import Record
from ..steps import StepsOutput

ID_PREFIX: Final = "customer-stream-"
"""The ids of these requests begin with this."""

PIECES: Final = msgspec.json.Decoder(list[str])
OUTPUT: Final = msgspec.json.Decoder(StepsOutput)


class LeftStream(Struct, frozen=True):
    """A stream that its client has left: ``how`` (leaves, cancels, killed), ``at_s`` after the start.

    It ended ``ended_after_s`` later with ``code``, as the reply topic shows it.
    """

    how: str
    at_s: float
    ended_after_s: float
    code: str


class StreamCounts(Struct):
    """What is seen of the streams of a run.

    Attributes:
        streams: streams that were asked for.
        read: streams that our client has read to their end.
        torn: of these, streams of which a character was missing, there twice, or another one.
        unanswered: streams that ended with an error although nothing was wrong with them, by its code.
        chunks: chunks on the reply topic.
        misplaced: chunks with other characters than the answer has at their position.
        wrong: results with another text than that of the request.
        left: streams that were left and have ended.
        open: streams that were left and have not ended.
    """

    streams: int = 0
    read: int = 0
    torn: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    chunks: int = 0
    misplaced: int = 0
    wrong: int = 0
    left: list[LeftStream] = field(default_factory=list)
    open: int = 0


class StreamLog:
    """Compares every reply to a stream with the text of its request."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._texts: dict[str, str] = {}
        self._left: dict[str, tuple[str, float]] = {}
        self.counts = StreamCounts()

    def asked(self, identity: str, text: str) -> None:
        """A stream is being asked for; its answer is ``text``."""
        self._texts[identity] = text
        self.counts.streams += 1

    def left(self, identity: str, how: str) -> None:
        """Its client leaves it now."""
        self._left[identity] = (how, self._now_s())
        self.counts.open += 1

    def read(self, record: Record) -> None:
        """Note a record of the reply topic."""
        reply = decode_reply(record.value)
        text = self._texts.get(reply.id)
        if text is None:
            return
        if isinstance(reply, Chunk):
            self.counts.chunks += 1
            told = "".join(PIECES.decode(reply.output))
            self.counts.misplaced += not (told and text.startswith(told, reply.from_))
            return
        if isinstance(reply, Result):
            self.counts.wrong += OUTPUT.decode(reply.output).text != text
        if (left := self._left.pop(reply.id, None)) is not None:
            how, at_s = left
            code = reply.code if isinstance(reply, Failure) else "result"
            self.counts.left.append(LeftStream(how, at_s, self._now_s() - at_s, code))
            self.counts.open -= 1


def text_of(identity: str, steps: int) -> str:
    """A text of this many characters, in which every place looks different."""
    return f"{identity}:{'-'.join(map(str, range(steps)))}"[:steps]
