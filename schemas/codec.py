"""Encodes and decodes messages. Decoding returns a message or raises `DecodeError`, whatever the bytes are."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeVar, overload

import msgspec
from msgspec import UNSET, Struct

from .messages import Chunk, Failure, Reply, Request, Result
from .wrappings import EXAMPLE, example_of, wrapping_of_bytes, wrapping_of_object, wrapping_of_string

SHAPES: Final = {
    "text": ("a string", EXAMPLE),
    "id": ("a string", '{"id": "t1", "text": "I was charged twice"}'),
    "task": ("a string", '{"task": "triage", "text": "I was charged twice"}'),
    "options": ("an object", '{"text": "I was charged twice", "options": {"threshold": 0.5}}'),
    "stream": ("a boolean", '{"text": "I was charged twice", "stream": true}'),
    "final": ("a boolean", '{"text": "I was", "id": "call-7/0/0", "final": false}'),
    "supersedes": ("a string", '{"text": "I was charged", "id": "call-7/0/1", "supersedes": "call-7/0/0"}'),
}
JSON_TYPES: Final = {
    "int": "a number",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
EXPECTED: Final = re.compile(r"got `(\w+)`")
FIELD: Final = re.compile(r"at `\$\.(\w+)")
LEADING_ID: Final = re.compile(r'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.){1,256}")')
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class DecodeError(ValueError):
    """The bytes are not a valid message.

    Attributes:
        code: empty_body, not_utf8, not_json, wrong_type, missing_text or blank_text; stable.
        message: one sentence that says what to do.
        id: the id of the message, if it can be read although the rest is invalid.
    """

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.id = request_id


class IdOnly(Struct):
    """The id alone, read from bodies that are not decoded, or fail validation."""

    id: str | int | None = None


Asked = TypeVar("Asked", bound=Request)

_requests: Final = msgspec.json.Decoder(Request)
_replies: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Result | Chunk | Failure)
_id_only: Final = msgspec.json.Decoder(IdOnly)
_ids: Final = msgspec.json.Decoder(str)

encode: Final[Callable[[Struct], bytes]] = msgspec.json.Encoder().encode
"""The JSON of a message.

Raises UnicodeEncodeError for half a surrogate pair, TypeError for an option that JSON cannot hold.
"""


@overload
def decode_request(value: bytes | None) -> Request: ...
@overload
def decode_request(value: bytes | None, kind: type[Asked]) -> Asked: ...
def decode_request(value: bytes | None, kind: type[Request] = Request) -> Request:
    """The request in the body of a record, of the type that the task's contract names.

    A plain Request has a text with at least one character that is not a space; what is in another type
    is for its task to check. Raises only DecodeError, whatever the bytes are.
    """
    try:
        if not value or value.isspace():
            raise DecodeError(
                "empty_body", f"The body is empty: send a JSON object such as {example_of(kind)}."
            )
        if not value.isascii():
            value.decode()  # checks all of the body; msgspec decodes only the known fields
        request = _requests.decode(value) if kind is Request else _decoder_of(kind).decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(value or b"", error, kind) from error
    return _checked(request, value) if kind is Request else request


@lru_cache(maxsize=64)
def _decoder_of(kind: type[Asked]) -> msgspec.json.Decoder[Asked]:
    return msgspec.json.Decoder(kind)


def id_in(value: bytes) -> str | None:
    """The id in the body of a record that is too large to be decoded, if it can be read.

    Nothing else is kept of the body: 8 MB of empty lists would be 300 MB of objects.
    """
    return _valid_id(value) or _leading_id(value)


def decode_reply(value: bytes | None) -> Reply:
    """The reply in the body of a record. Raises only DecodeError, whatever the bytes are."""
    try:
        return _replies.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError("not_json", f"The body is not a reply: {error}.") from error


def _checked(request: Request, value: bytes) -> Request:
    text = request.text
    if text is UNSET:
        missing = f"The field `text` is missing: send {EXAMPLE}."
        raise DecodeError("missing_text", wrapping_of_object(value) or missing, request.id)
    if not text or text.isspace():
        message = "The field `text` is blank: send a text with at least one character that is not a space."
        raise DecodeError("blank_text", message, request.id)
    return request


def _refusal(value: bytes, error: Exception, kind: type[Request]) -> DecodeError:
    """The DecodeError for ``value``, given the error of the decoder."""
    example = example_of(kind)
    if not isinstance(error, msgspec.ValidationError) and (wrapped := wrapping_of_bytes(value, example)):
        return DecodeError("not_utf8" if isinstance(error, UnicodeDecodeError) else "not_json", wrapped)
    if isinstance(error, UnicodeDecodeError):
        sentence = f"The body is not UTF-8 (byte {error.start}): encode the JSON as UTF-8."
        return DecodeError("not_utf8", sentence, _leading_id(value))
    if isinstance(error, msgspec.ValidationError):
        wrong = _wrong_type(str(error)) if kind is Request else _wrong_field(str(error), example)
        sentence = wrapping_of_string(value, example) or wrong
        return DecodeError("wrong_type", sentence, _valid_id(value))
    return DecodeError(
        "not_json",
        f"The body is not JSON ({_defect(value, error)}): send an object such as {example}.",
        _leading_id(value),
    )


def _defect(value: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if value.startswith(BYTE_ORDER_MARK):
        return "it begins with a byte order mark"
    if b"\\ud" in value.lower():
        return "it holds half of a surrogate pair"
    return str(error).removeprefix("JSON is malformed: ").lower()


def _wrong_type(problem: str) -> str:
    """A sentence for the user from msgspec's ``Expected `str`, got `int` - at `$.text```."""
    field = FIELD.search(problem)
    got = EXPECTED.search(problem)
    described = JSON_TYPES.get(got[1], "something else") if got else "a number out of range"
    if field is None or field[1] not in SHAPES:
        return f"The body must be a JSON object, got {described}: send {EXAMPLE}."
    wanted, example = SHAPES[field[1]]
    if got is None and field[1] == "options":
        return "The field `options` holds a number out of range: send a smaller one."
    return f"The field `{field[1]}` must be {wanted}, got {described}: send {example}."


def _wrong_field(problem: str, example: str) -> str:
    """The same for a type whose fields are not known here."""
    reason, _, where = problem.partition(" - at `$")
    reason = reason[:1].lower() + reason[1:]
    if reason.startswith("object missing required field"):
        return f"The body lacks the field {reason.rpartition(' ')[2]}: send {example}."
    if not where.startswith("."):
        return f"The body must be a JSON object ({reason}): send {example}."
    return f"The field `{where[1:].rstrip('`')}` is wrong: {reason}."


def _valid_id(value: bytes) -> str | None:
    try:
        found = _id_only.decode(value).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return str(found) if isinstance(found, int) else found


def _leading_id(value: bytes) -> str | None:
    """The id of a body that is not JSON, if it is the first field. A later one may belong to a nested object."""
    match = LEADING_ID.match(value[:2048].decode(errors="replace"))
    try:
        return _ids.decode(match[1]) if match else None
    except msgspec.MsgspecError:
        return None
