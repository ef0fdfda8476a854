"""The requests of clients whose process is killed, as the topics show them."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from ....schemas.codec import DecodeError, decode_reply, decode_request
from ....schemas.generation import GenerateRequest
from ....schemas.messages import Chunk, Failure
from ...broker.base import Record

QUIET_S: Final = 2.0
"""So long after the kill requests of the process may come into sight."""

END_S: Final = 60.0


class LeftRequests:
    """Pairs the requests whose keys begin with ``prefix`` with their ends."""

    def __init__(self, prefix: str, requests: str, clock: Callable[[], float]) -> None:
        """``requests``: the topic of requests; all other records are replies."""
        self._prefix = prefix.encode()
        self._requests = requests
        self._clock = clock
        self._killed_at = math.inf
        self._asked: set[str] = set()
        self._ended: set[str] = set()  # a reply may be read before its request
        self.cancelled = 0
        """Requests that ended as cancelled: their lease was over."""
        self.ended_after_s: list[float] = []
        """Of each request that was open when the process was killed: when its end was read after that."""

    @property
    def open(self) -> int:
        """Requests that have not ended."""
        return len(self._asked - self._ended)

    @property
    def is_over(self) -> bool:
        """Whether all requests of the killed process have ended, or should have."""
        since_s = self._clock() - self._killed_at
        return since_s >= (END_S if self.open else QUIET_S)

    def killed(self) -> None:
        """The process was killed just now."""
        self._killed_at = self._clock()

    def read(self, records: Iterable[Record]) -> None:
        """Note what was read from the topics."""
        for record in records:
            if record.key is None or not record.key.startswith(self._prefix):
                continue
            if record.topic != self._requests:
                self._end(record)
                continue
            try:
                identity = decode_request(record.value, GenerateRequest).id
            except DecodeError:  # garbage of another client
                continue
            if identity is not None:
                self._asked.add(identity)

    def _end(self, record: Record) -> None:
        reply = decode_reply(record.value)
        if isinstance(reply, Chunk) or reply.id in self._ended:
            return
        self._ended.add(reply.id)
        self.cancelled += isinstance(reply, Failure) and reply.code == "cancelled"
        if self._clock() >= self._killed_at:
            self.ended_after_s.append(self._clock() - self._killed_at)
