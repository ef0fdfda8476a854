"""What a reply topic says about one request that has not ended: the pieces that were told."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct

from ...schemas.messages import Chunk, Reply

NO_EPOCH: Final = -1
"""Of a reply without one, by a worker of an earlier version: any epoch is higher."""

PIECE_BYTES: Final = 100
"""What a piece takes in memory beside its own bytes."""

_pieces: Final = msgspec.json.Decoder(list[Raw])


class ToldPieces(Struct):
    """Chunks of one request, added in the order of the log, joined as a client joins them.

    Attributes:
        epoch: the highest one so far: what has a lower one does not count.
        seq: the number of the next chunk.
        size: about the bytes of the pieces in memory.
        version: of the model that made them.
        given: they were given to the worker that goes on: no more are kept.
    """

    epoch: int = NO_EPOCH
    seq: int = 0
    size: int = 0
    version: str = ""
    given: bool = False
    pieces: list[Raw] = []

    def is_older(self, reply: Reply) -> bool:
        """Whether it comes from a worker that was replaced. An end without an epoch is one of an earlier version."""
        is_chunk = isinstance(reply, Chunk)
        return (is_chunk or reply.epoch is not UNSET) and epoch_of(reply) < self.epoch

    def add(self, chunk: Chunk) -> None:
        """The next chunk."""
        if self.is_older(chunk):
            return
        self.epoch = epoch_of(chunk)
        self.seq = chunk.seq + 1
        if not self.given:
            self._join(chunk)

    def give(self, decoder: "msgspec.json.Decoder[Any]") -> Any:
        """The pieces, decoded. Raises msgspec.MsgspecError if they are of another type."""
        body = b"[" + b",".join(map(bytes, self.pieces)) + b"]"
        self.given = True
        self.pieces = []
        self.size = 0
        return decoder.decode(body)

    def _join(self, chunk: Chunk) -> None:
        if chunk.version and chunk.version != self.version:
            self.version = chunk.version
            if chunk.from_ == 0:  # the answer of another model, which begins anew
                self.pieces = []
                self.size = 0
        known = len(self.pieces) - chunk.from_
        try:
            new = _pieces.decode(chunk.output)[max(0, known) :]
        except msgspec.MsgspecError:
            return
        if known < 0 or chunk.from_ < 0:  # behind a gap: no reader has shown it
            return
        self.pieces.extend(new)
        self.size += sum(map(len, map(bytes, new))) + PIECE_BYTES * len(new)


def epoch_of(reply: Reply) -> int:
    """Its epoch, or `NO_EPOCH`."""
    return NO_EPOCH if reply.epoch is UNSET else reply.epoch
