"""The answers of conversations as the reply topic shows them: each token in its place, and the end of what was left."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ....schemas.codec import decode_reply
from ....schemas.generation import GenerateOutput, Token, tokens_of
from ....schemas.messages import Chunk, Result
from ...broker.base import Record
from .conversation_counts import ConversationCounts
from .left_streams import LeftStreams

ID_PREFIX: Final = "customer-talk-"
"""The ids of these requests, and the names of their conversations, begin with this."""

PIECES: Final = msgspec.json.Decoder(list[Token])
OUTPUT: Final = msgspec.json.Decoder(GenerateOutput)


class ConversationLog:
    """Compares every reply with the earlier replies to the same request, from any worker."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._told: dict[str, list[Token]] = {}
        self._whole: set[str] = set()  # those whose result is known
        self._conversation: dict[str, str] = {}
        self._waiting: dict[str, list[str]] = {}  # of each conversation, those that have not ended, in order
        self.counts = ConversationCounts()
        self._left = LeftStreams(now_s, self.counts)
        self.left = self._left.left
        """Its caller leaves an answer now."""

    def asked(self, identity: str, conversation: str) -> None:
        """A request of the conversation is being sent, behind those before it."""
        self._conversation[identity] = conversation
        self._waiting.setdefault(conversation, []).append(identity)

    def read(self, record: Record) -> None:
        """Note a record of the reply topic."""
        reply = decode_reply(record.value)
        if not reply.id.startswith(ID_PREFIX):
            return
        waiting = self._waiting.get(self._conversation.get(reply.id, ""), [])
        pieces = PIECES.decode(reply.output) if isinstance(reply, Chunk) else None
        # Without a piece it is the mark of a new owner, which may come before the end of an earlier request.
        self.counts.misordered += pieces != [] and reply.id in waiting[1:]
        if isinstance(reply, Chunk):
            self.counts.chunks += 1
            self.counts.changed += not self._joins(reply.id, reply.from_, pieces or [])
            return
        if isinstance(reply, Result):
            tokens = tokens_of(OUTPUT.decode(reply.output))
            told = self._told.setdefault(reply.id, [])
            is_same = told == tokens if reply.id in self._whole else told == tokens[: len(told)]
            self.counts.changed += not is_same
            self._told[reply.id] = tokens
            self._whole.add(reply.id)
        if reply.id in waiting:
            waiting.remove(reply.id)
        self._left.ended(reply)

    def _joins(self, identity: str, start: int, tokens: Sequence[Token]) -> bool:
        """Whether these tokens are those that were told in their place before, or come next."""
        told = self._told.setdefault(identity, [])
        if start > len(told) or (identity in self._whole and start + len(tokens) > len(told)):
            return False
        again = told[start : start + len(tokens)]
        told += tokens[len(again) :]
        return again == list(tokens[: len(again)])
