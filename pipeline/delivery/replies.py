"""Replies as records of a reply topic."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from msgspec import UNSET, Raw

from ...schemas import codec
from ...schemas.messages import Chunk, Failure, Result
from ...schemas.topics import Header
from ..broker.base import Headers, Message
from ..engine.engine_answer import EngineAnswer
from ..errors import InferstreamError, NotWritable, Overloaded, ReplyTooLarge
from .arrival import Arrival
from .chunks import AnswerPart
from .outcome import Outcome
from .resumed import Resumed

MAX_ECHO_BYTES: Final = 4_096
"""Bytes of the headers that one reply repeats: what is above, a caller can put into the request's id."""

MAX_KEY_BYTES: Final = 1_024
"""A longer key is not repeated by every chunk: a key of 1 MB would make each of a hundred tokens 1 MB."""

Undeliverable = Callable[[Arrival], Callable[[NotWritable], Outcome] | None]
"""Gives what makes the end of a request whose reply cannot be written; None if that ends the worker."""


def ends_worker(arrival: Arrival) -> None:
    """`Undeliverable` of a worker that ends if a reply cannot be written."""


class ReplyBuilder:
    """Builds the replies of one task."""

    def __init__(
        self,
        task: str,
        max_bytes: int,
        echo: Sequence[str] = (),
        undeliverable: Undeliverable | None = None,
        where: str = "",
    ) -> None:
        """A result of more than ``max_bytes`` becomes a Failure. ``echo``: shell patterns of the
        headers of a request that its reply repeats. Without ``undeliverable``, a reply that cannot
        be written ends the worker. ``where``: what the sentence of each Failure begins with.
        """
        self._task = task
        self._where = where
        self._max_bytes = max_bytes
        patterns = [Header.TRACEPARENT, *echo]
        self._echoed = re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))
        self._end = undeliverable or ends_worker

    def result(self, arrival: Arrival, answer: EngineAnswer) -> Outcome:
        """The reply with an answer; a Failure instead if it is larger than a reply may be."""
        identity = arrival.reply_id
        body = codec.encode(
            Result(
                id=identity,
                task=self._task,
                model=answer.model,
                version=answer.version,
                output=Raw(answer.output),
                cache=answer.cache,
                timings=answer.timings,
                batch=answer.batch,
                seq=arrival.seq,
                epoch=arrival.epoch,
                release=answer.release or UNSET,
            )
        )
        reply = self._message(arrival, identity, body)
        if len(body) > self._max_bytes:
            return self._too_large(arrival, reply, identity)
        too_large = partial(self._too_large, arrival, reply, identity)
        return Outcome((reply,), too_large, if_not_writable=self._end(arrival))

    def chunk(self, arrival: Arrival, part: AnswerPart) -> Message | None:
        """The reply with a part of an answer that is being made; None if it is larger than a reply may be."""
        identity = arrival.reply_id
        body = codec.encode(
            Chunk(
                id=identity,
                seq=part.seq,
                task=self._task,
                model=part.model,
                version=part.version,
                from_=part.start,
                output=Raw(part.output),
                epoch=arrival.epoch,
            )
        )
        return None if len(body) > self._max_bytes else self._chunk_message(arrival, body)

    def mark(self, arrival: Arrival, begun: Resumed) -> Message:
        """The empty chunk with which this worker takes over the answer."""
        chunk = Chunk(
            id=arrival.reply_id,
            seq=begun.seq,
            task=self._task,
            model="",
            version="",
            from_=len(begun.pieces),
            output=Raw(b"[]"),
            epoch=begun.epoch,
        )
        return self._chunk_message(arrival, codec.encode(chunk))

    def _chunk_message(self, arrival: Arrival, body: bytes) -> Message:
        chunk = self._message(arrival, arrival.reply_id, body)
        if len(chunk.key or b"") <= MAX_KEY_BYTES:
            return chunk
        return chunk._replace(key=arrival.reply_id.encode())

    def failure(self, arrival: Arrival, error: InferstreamError | codec.DecodeError) -> Outcome:
        """The reply with a Failure, which repeats the error's code and, shortened, its sentence."""
        retryable = isinstance(error, InferstreamError) and error.retryable
        retry_after_ms = error.retry_after_ms if isinstance(error, Overloaded) else None
        return self.ended(
            arrival, self._failure(arrival, error.code, short_message(error), retryable, retry_after_ms)
        )

    def ended(self, arrival: Arrival, failure: Failure) -> Outcome:
        """The reply with this Failure."""
        reply = self._message(arrival, failure.id, codec.encode(failure))
        return self._or_bare(arrival, reply, failure.id)

    def _too_large(self, arrival: Arrival, reply: Message, identity: str) -> Outcome:
        """A Failure in place of a reply that must not, or could not, be published."""
        sentence = (
            f"The reply has {len(reply.value)} bytes, more than may be published: ask for less, or raise, to "
            "1 MB at most, the topic's max.message.bytes and `max_reply_bytes` in the worker's settings."
        )
        failure = self._failure(arrival, ReplyTooLarge.code, sentence)
        return self._or_bare(arrival, reply._replace(value=codec.encode(failure)), identity)

    def _failure(
        self,
        arrival: Arrival,
        code: str,
        message: str,
        retryable: bool = False,
        retry_after_ms: int | None = None,
    ) -> Failure:
        return Failure(
            id=arrival.reply_id,
            task=self._task,
            code=code,
            message=self._where + message,
            retryable=retryable,
            retry_after_ms=retry_after_ms,
            seq=arrival.seq,
            epoch=arrival.epoch,
        )

    def _or_bare(self, arrival: Arrival, reply: Message, identity: str) -> Outcome:
        """The reply; if the broker refuses its size, the same without the request's key and headers."""
        bare = reply._replace(key=identity.encode(), headers=())
        end = self._end(arrival)
        return Outcome((reply,), lambda: Outcome((bare,), if_not_writable=end), if_not_writable=end)

    def _message(self, arrival: Arrival, identity: str, body: bytes) -> Message:
        record = arrival.record
        key = record.key or identity.encode()
        echoed = self._echo(record.headers) if record.headers else ()
        return Message(arrival.reply_topic, body, key, echoed, arrival.reply_partition)

    def _echo(self, headers: Headers) -> Headers:
        """The headers of a request that its reply repeats, as long as there is room for them."""
        echoed = []
        room = MAX_ECHO_BYTES
        for name, value in headers:
            if self._echoed.match(name.lower()):
                room -= len(name.encode()) + len(value)
                if room < 0:
                    break
                echoed.append((name, value))
        return tuple(echoed)


def short_message(error: Exception) -> str:
    """The error's message, shortened to about 500 characters."""
    message = str(error)
    return message if len(message) <= 500 else f"{message[:300]} … {message[-200:]}"
