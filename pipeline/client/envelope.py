"""A request as a record: the body, the key that places it, and the headers that travel beside it."""

from collections.abc import Callable
from hashlib import blake2b
from secrets import token_hex
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ...schemas.codec import encode
from ...schemas.messages import Request
from ...schemas.topics import ANY_ORDER, PRIORITIES, Header
from ..broker.base import Headers, Message
from ..errors import NotUtf8, UsageError, WrongType

KEY_BYTES: Final = 8

_options: Final = msgspec.json.Encoder(order="deterministic")


class Envelope(Struct, frozen=True):
    """What travels beside the body of a request; see `Header`. Raises UsageError for a priority there is not."""

    reply_topic: str
    model: str | None = None
    tenant: str | None = None
    priority: str | None = None
    timeout_s: float | None = None
    key: bytes | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        if self.priority is not None and self.priority not in PRIORITIES:
            raise UsageError(
                f"There is no priority `{self.priority}`: choose one of {', '.join(PRIORITIES)}."
            )


class Sender(NamedTuple):
    """Turns the requests of one topic into records; ``clock`` is the Unix time in seconds."""

    topic: str
    clock: Callable[[], float]

    def message(self, request: Request, envelope: Envelope) -> Message:
        """The record of ``request``. Raises NotUtf8 or WrongType for what no JSON can hold."""
        try:
            key = content_hash(request, envelope) if envelope.key is None else envelope.key
            return Message(self.topic, encode(request), key, self._headers(envelope))
        except UnicodeEncodeError as error:
            raise NotUtf8(
                "The request holds half of a surrogate pair: send text that UTF-8 can hold."
            ) from error
        except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise WrongType(
                f"The request is not JSON ({error}): use strings, numbers, lists and dicts."
            ) from error

    def _headers(self, envelope: Envelope) -> Headers:
        expires = None if envelope.timeout_s is None else str(int((self.clock() + envelope.timeout_s) * 1000))
        values = (
            (Header.REPLY_TOPIC, envelope.reply_topic),
            (Header.TRACEPARENT, envelope.traceparent or new_traceparent()),
            (Header.DEADLINE_MS, expires),
            (Header.PRIORITY, envelope.priority),
            (Header.MODEL, envelope.model),
            (Header.TENANT, envelope.tenant),
        )
        headers = tuple((name, value.encode()) for name, value in values if value is not None)
        # The hash of the content is a key only to find the worker that knows it.
        return headers if envelope.key is not None else (*headers, (Header.ORDER, ANY_ORDER))


def content_hash(request: Request, envelope: Envelope) -> bytes:
    """The key that sends equal content to the same worker, where the cache knows it; readable in a console."""
    parts = (str(request.text).encode(), _options.encode(request.options), (envelope.model or "").encode())
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return blake2b(content, digest_size=KEY_BYTES).hexdigest().encode()


def new_traceparent() -> str:
    """A W3C Trace Context that begins a trace."""
    return f"00-{token_hex(16)}-{token_hex(8)}-01"
