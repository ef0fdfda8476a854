"""The messages on the topic of cancels: a request is not wanted any more, a client lives."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from .codec import DecodeError

Reason = Literal["cancelled", "superseded"]
EXAMPLE_CANCEL: Final = '{"id": "t1"}'


class Cancel(Struct, frozen=True, omit_defaults=True):
    """Ends a request before its answer. ``{"id": "t1"}`` is a complete one.

    Attributes:
        id: of the request; for a request without an id its topic/partition/offset.
        reason: the code of the Failure that ends the request: ``superseded`` if a newer request takes its place.
    """

    id: str
    reason: Reason = "cancelled"


class Heartbeat(Struct, frozen=True, omit_defaults=True):
    """Says that the client lives whose requests have this lease in their header ``lease``.

    Attributes:
        lease: the name that the client has chosen; it is also the key of the record.
        read: how many pieces were read of answers in pieces, by the id of the request. An answer that is named here is
            paused while much more was told, and ended if it stays so. Not all have to be named each time.
    """

    lease: str
    read: dict[str, int] = {}


class _Either(Struct):
    id: str | None = None
    reason: str = "cancelled"
    lease: str | None = None
    read: dict[str, int] = {}


_either: Final = msgspec.json.Decoder(_Either)


def decode_cancel(value: bytes | None) -> Cancel | Heartbeat:
    """The message in the body of a record. Raises only DecodeError, whatever the bytes are.

    A reason of a later version counts as ``cancelled``.
    """
    try:
        found = _either.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("not_json", f"The body is not a cancel: {error}.") from error
    if found.id is not None:
        return Cancel(found.id, "superseded" if found.reason == "superseded" else "cancelled")
    if found.lease is not None:
        return Heartbeat(found.lease, found.read)
    raise DecodeError("wrong_type", f"The body has neither `id` nor `lease`: send {EXAMPLE_CANCEL}.")
