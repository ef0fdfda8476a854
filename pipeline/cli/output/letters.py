"""One dead letter in full, as text or as JSON."""

import base64
from typing import Any

import msgspec

from ...broker.base import Record
from ...ops.dead_letters.letter import Letter
from .terminal import local_time, printable


def whole_letter(record: Record, letter: Letter) -> dict[str, Any]:
    """A letter with headers and body. Bytes that are not UTF-8 are in Base64."""
    headers = [[name, _text(value)] for name, value in record.headers]
    return {**msgspec.to_builtins(letter), "headers": headers, "body": _text(record.value or b"")}


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def lines_of(name: str, value: Any) -> list[str]:
    """One field of `whole_letter` as lines of text."""
    title = name.replace("_", " ")
    match value:
        case None | []:
            return []
        case list() if name == "headers":
            return [f"{title}:", *(f"  {printable(str(key))}: {printable(str(text))}" for key, text in value)]
        case list():
            return [f"{title}:", *(f"  {printable(str(line))}" for line in value)]
        case int() if name == "failed_at_ms":
            return [f"failed at: {local_time(value)}"]
        case _:
            return [f"{title}: {printable(str(value))}"]
