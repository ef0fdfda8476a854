"""A request as a message: body, record key and headers."""

from collections.abc import Callable
from hashlib import blake2b
from secrets import token_hex
from typing import Final

import msgspec
from msgspec import Struct, structs
from msgspec.structs import asdict

from ...schemas.codec import encode
from ...schemas.messages import Request
from ...schemas.topics import ANY_ORDER, Header
from ..broker.base import Headers, Message
from ..errors import NotUtf8, WrongType
from .arguments import check

KEY_BYTES: Final = 8

_options: Final = msgspec.json.Encoder(order="deterministic")


class Envelope(Struct, frozen=True):
    """The attributes of a request outside its body, see `Header`. Raises UsageError for a wrong argument.

    ``near`` is a key that only prefers a partition: requests that have it come in any order. ``key`` goes before it.
    """

    model: str | None = None
    tenant: str | None = None
    priority: str | None = None
    timeout_s: float | None = None
    key: bytes | None = None
    traceparent: str | None = None
    lease_s: float | None = None
    near: bytes | None = None

    def __post_init__(self) -> None:
        check(**asdict(self))


def request_message(
    topic: str, reply_topic: str, request: Request, envelope: Envelope, clock: Callable[[], float]
) -> Message:
    """The message that publishes ``request`` to ``topic``; ``clock`` is the Unix time in seconds.

    Raises NotUtf8 or WrongType for a request that cannot be encoded as JSON.
    """
    try:
        key = envelope.near if envelope.key is None else envelope.key
        if key is None:
            key = content_hash(request, envelope.model)
        return Message(topic, encode(request), key, _headers(reply_topic, envelope, clock))
    except UnicodeEncodeError as error:
        raise NotUtf8("The request holds half of a surrogate pair: send text that UTF-8 can hold.") from error
    except (TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise WrongType(
            f"The request is not JSON ({error}): use strings, numbers, lists and dicts."
        ) from error


def _headers(reply_topic: str, envelope: Envelope, clock: Callable[[], float]) -> Headers:
    deadline = None if envelope.timeout_s is None else str(int((clock() + envelope.timeout_s) * 1000))
    values = (
        (Header.REPLY_TOPIC, reply_topic),
        (Header.TRACEPARENT, envelope.traceparent or new_traceparent()),
        (Header.DEADLINE_MS, deadline),
        (Header.PRIORITY, envelope.priority),
        (Header.MODEL, envelope.model),
        (Header.TENANT, envelope.tenant),
    )
    headers = tuple((name, value.encode()) for name, value in values if value is not None)
    # A content hash, or `near`, selects a partition for a cache; it does not ask for an order of replies.
    return headers if envelope.key is not None else (*headers, (Header.ORDER, ANY_ORDER))


def content_hash(request: Request, model: str | None) -> bytes:
    """The default record key, in hexadecimal: equal content goes to the same worker and hits its cache."""
    about = str(request.text).encode() if type(request) is Request else _content(request)
    parts = (about, _options.encode(request.options), (model or "").encode())
    content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return blake2b(content, digest_size=KEY_BYTES).hexdigest().encode()


def _content(request: Request) -> bytes:
    """What a request of a task's own type is about: its fields but those that each request has."""
    bare = structs.replace(request, id=None, task=None, options={}, stream=False, final=True, supersedes=None)
    return _options.encode(bare)


def new_traceparent() -> str:
    """A W3C Trace Context that starts a new trace."""
    return f"00-{token_hex(16)}-{token_hex(8)}-01"
