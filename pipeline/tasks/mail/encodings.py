"""Mails in their transfer encodings: a whole message with its headers, quoted-printable, base64."""

import base64
import binascii
import quopri
import re
from email import message_from_string
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import Message
from typing import Final

HEADERS: Final = re.compile(r"\s{0,80}(?:From [^\n]{1,200}\n)?[A-Za-z][A-Za-z0-9-]{1,60}:[^\n]*\n")
OF_A_MESSAGE: Final = re.compile(
    r"^(?:MIME-Version|Content-Type|Content-Transfer-Encoding|Received|Return-Path|Message-ID):",
    re.IGNORECASE | re.MULTILINE,
)
MAX_HEAD_CHARACTERS: Final = 65_536
MAX_PARTS: Final = 20
"""The parser's work grows with the nesting; a mail that announces more parts is left as it is."""
MAX_DELIMITERS: Final = 1_000
"""Lines that may begin a part: the parser takes 14 µs for each, so 2.3 s for a megabyte of them."""
LONG_HEADER: Final = re.compile(
    r"^content-(?:type|disposition):(?:[^\n]{2000}|[^\n]*\n(?:[ \t][^\n]*\n){30})",
    re.IGNORECASE | re.MULTILINE,
)
"""The parser's work grows with the square of the parameters of these headers: such a mail is left as it is, too."""
MAX_SUBJECT_CHARACTERS: Final = 1_000
SOFT_BREAK: Final = re.compile(r"=\r?\n")
HEXADECIMAL: Final = re.compile(r"=[0-9A-F]{2}")
BASE64: Final = re.compile(
    r"(?:[A-Za-z0-9+/]{60,80}\r?\n)+[A-Za-z0-9+/]{0,80}={0,2}|[A-Za-z0-9+/]{24,}={0,2}"
)


def unpacked(text: str) -> str:
    """The text without its transfer encoding; of a whole message its subject and its body."""
    if _is_message(text):
        try:
            return _message_text(message_from_string(text.lstrip())) or text
        except (MessageError, RecursionError, ValueError, LookupError):
            return text
    if SOFT_BREAK.search(text) and HEXADECIMAL.search(text):
        return _decoded(quopri.decodestring(text.encode(errors="replace"))) or text
    if BASE64.fullmatch(text.strip()):
        return _from_base64(text) or text
    return text


def _is_message(text: str) -> bool:
    return (
        HEADERS.match(text) is not None
        and OF_A_MESSAGE.search(_head(text)) is not None
        and text.lower().count("boundary=") <= MAX_PARTS
        and text.count("\n--") <= MAX_DELIMITERS
        and not LONG_HEADER.search(text)
    )


def _head(text: str) -> str:
    """The headers: all before the first blank line."""
    head = text.lstrip()[:MAX_HEAD_CHARACTERS].replace("\r\n", "\n")
    return head.partition("\n\n")[0]


def _message_text(message: Message) -> str:
    body = _body(message)
    if body is None:
        return ""
    subject = _subject(str(message.get("Subject", "")))
    return f"{subject}\n\n{body}" if subject else body


def _body(message: Message) -> str | None:
    """The first part that is plain text, else the first that is HTML; attachments do not count."""
    html = None
    for part in message.walk():
        if part.is_multipart() or part.get_content_disposition() == "attachment":
            continue
        kind = part.get_content_type()
        if kind == "text/plain" and (text := _part_text(part)).strip():
            return text
        if kind == "text/html" and html is None:
            html = _part_text(part)
    return html


def _part_text(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return content.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return _decoded(content) or content.decode("cp1252", "replace")


def _subject(encoded: str) -> str:
    short = " ".join(encoded[:MAX_SUBJECT_CHARACTERS].split())
    try:
        return str(make_header(decode_header(short)))
    except (HeaderParseError, LookupError, UnicodeDecodeError, ValueError):
        return short


def _from_base64(text: str) -> str | None:
    try:
        decoded = _decoded(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return None
    return decoded if decoded and " " in decoded else None  # a long word can be base64 by chance


def _decoded(content: bytes) -> str | None:
    """The text if ``content`` is UTF-8 that shows; otherwise it was no encoding."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if "\0" not in text else None
