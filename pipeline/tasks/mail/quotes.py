"""Drops quoted mails from a plain text, with quotequail, whose work is bounded."""

import re
from typing import Final

import quotequail

MAX_LINES: Final = 500
"""The beginning of a quoted mail is looked for in the first lines only: 60 µs each."""
MAX_LINE_CHARACTERS: Final = 200
"""A longer line introduces no quote. quotequail's patterns are not linear in a line with many "<" or "@"."""
MAX_MARKS: Final = 2
MARK: Final = "\ue000"
HELD: Final = re.compile(f"{MARK}(\\d+){MARK}")
FORWARDED: Final = re.compile(
    r"^[-> ]{0,20}(?:Begin forwarded message|Forwarded message|Anfang der weitergeleiteten|Début du message réexpédié"
    r"|Inicio del mensaje reenviado|Message transféré|Mensaje reenviado|(?:Begin )?doorgestuurd bericht)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""What introduces a mail that is passed on: that mail is the matter. A reply's "Original Message" is not."""
QUOTED: Final = re.compile(r"\s{0,3}>")


def without_quotes(text: str) -> str:
    """The text without quoted mails and the lines that introduce them; if nothing else is left, with them."""
    lines = text.replace(MARK, "").split("\n")
    first = [_held(line, number) for number, line in enumerate(lines[:MAX_LINES])]
    found = quotequail.unwrap("\n".join(first))
    kept = "\n".join(lines)
    if found is not None and found["type"] != "quote":
        own = "\n".join(found[part] for part in ("text_top", "text_bottom") if part in found)
        if not own.strip() or FORWARDED.search("\n".join(first)):
            own = f"{own}\n{found.get('text', '')}"
        if own.strip():
            rest = lines[MAX_LINES:] if "text_bottom" in found or len(lines) <= MAX_LINES else []
            kept = "\n".join([HELD.sub(lambda held: lines[int(held[1])], own), *rest])
    unquoted = "\n".join(line for line in kept.split("\n") if not QUOTED.match(line))
    return unquoted if unquoted.strip() else _unmarked(kept)


def _held(line: str, number: int) -> str:
    """The line, or a mark in its place if it is too long or too odd to introduce a quote."""
    if len(line) <= MAX_LINE_CHARACTERS and line.count("<") <= MAX_MARKS and line.count("@") <= MAX_MARKS:
        return line
    return f"{'> ' if QUOTED.match(line) else ''}{MARK}{number}{MARK}"


def _unmarked(text: str) -> str:
    return "\n".join(line.lstrip("> ") for line in text.split("\n"))
