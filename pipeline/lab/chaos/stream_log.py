"""The streams of a run as the reply topic shows them: what each chunk brings, and when a stream ends that was left."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct, field

from ....schemas.codec import decode_reply
from ....schemas.messages import Chunk, Result
from ...broker.base import Record
from ..steps import StepsOutput
from .left_streams import LeftStream, LeftStreams

ID_PREFIX: Final = "customer-stream-"
"""The ids of these requests begin with this."""

PIECES: Final = msgspec.json.Decoder(list[str])
OUTPUT: Final = msgspec.json.Decoder(StepsOutput)


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
        self._texts: dict[str, str] = {}
        self.counts = StreamCounts()
        self._left = LeftStreams(now_s, self.counts)
        self.left = self._left.left
        """Its client leaves a stream now."""

    def asked(self, identity: str, text: str) -> None:
        """A stream is being asked for; its answer is ``text``."""
        self._texts[identity] = text
        self.counts.streams += 1

    def read(self, record: Record) -> None:
        """Note a record of the reply topic."""
        reply = decode_reply(record.value)
        text = self._texts.get(reply.id)
        if text is None:
            return
        if isinstance(reply, Chunk):
            self.counts.chunks += 1
            told = "".join(PIECES.decode(reply.output))
            self.counts.misplaced += not text.startswith(told, reply.from_)  # a mark has no characters
            return
        if isinstance(reply, Result):
            self.counts.wrong += OUTPUT.decode(reply.output).text != text
        self._left.ended(reply)


def text_of(identity: str, steps: int) -> str:
    """A text of this many characters, in which every place looks different."""
    return f"{identity}:{'-'.join(map(str, range(steps)))}"[:steps]
