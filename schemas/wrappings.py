"""Names what other tools wrap around a request: a failure that says "missing" would not help their users."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, structs

from .messages import Request

EXAMPLE: Final = '{"text": "I was charged twice"}'
SCHEMA_ID_BYTES: Final = 5
UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
HOLDERS: Final = ("payload", "data", "value", "message", "Message", "body", "event", "after", "request")

_objects: Final = msgspec.json.Decoder(dict[str, Raw])
_strings: Final = msgspec.json.Decoder(str)


def example_of(kind: type[Request]) -> str:
    """A request to show in an error: the fields that its type adds to those of each request."""
    if kind is Request:
        return EXAMPLE
    fields = [
        one for one in structs.fields(kind) if one.required or one.name not in Request.__struct_fields__
    ]
    named = [one for one in fields if one.required] or fields
    return "{" + ", ".join(f'"{one.encode_name}": …' for one in named) + "}"


def wrapping_of_bytes(value: bytes, example: str = EXAMPLE) -> str | None:
    """A sentence on the bytes around a body that is not JSON; None if they are not known."""
    if value[:2] == b"\x00\x00" and len(value) >= SCHEMA_ID_BYTES and value[2:4] != b"\x00{":
        number = int.from_bytes(value[1:SCHEMA_ID_BYTES], "big")
        return (
            f"The body begins with the bytes of a schema registry (schema {number}): send plain JSON without "
            f"them, such as {example}, with a serializer for strings or bytes."
        )
    if value[:2] in UTF_16:
        return f"The body looks like UTF-16: encode the JSON as UTF-8, as in {example}."
    return None


def wrapping_of_object(value: bytes) -> str | None:
    """A sentence on the object around a request without `text`; None if it is not known."""
    fields = _fields(value)
    if {"schema", "payload"} <= fields.keys():
        return (
            "The body is wrapped by Kafka Connect or Debezium in `schema` and `payload`: send the request alone, "
            f"such as {EXAMPLE}, with schemas.enable=false and the fields of the request at the top."
        )
    if "specversion" in fields:
        return (
            "The body is a CloudEvent, with the request in `data`: send what is in `data` alone, "
            f"such as {EXAMPLE}."
        )
    for name in HOLDERS:
        if "text" in _fields(bytes(fields.get(name, b""))):
            return (
                f"The field `text` is inside of `{name}`: send what is in `{name}` alone, such as {EXAMPLE}."
            )
    return None


def wrapping_of_string(value: bytes, example: str = EXAMPLE) -> str | None:
    """A sentence on a request that was encoded as JSON twice; None if it was not."""
    try:
        inner = _strings.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not _fields(inner.encode(errors="replace")):
        return None
    return f"The body is a string that holds JSON: it was encoded twice. Send the object itself, such as {example}."


def _fields(value: bytes) -> Mapping[str, Raw]:
    """The fields of an object; none if it is no object."""
    try:
        return _objects.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
