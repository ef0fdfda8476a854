"""Cuts the signature off a plain text: below "-- " (RFC 3676, section 4.3), and what phones add."""

import re
from typing import Final

DELIMITER: Final = re.compile(r"--[ \t]{0,3}")
BY_A_DEVICE: Final = re.compile(
    r"(?:Sent from (?:my|the|Mail|Outlook|Yahoo)|Sent via|Get Outlook for|Von meinem .{1,40} gesendet|Gesendet mit"
    r"|Envoyé de(?:puis)? mon|Enviado desde mi|Inviato da|Verzonden vanaf mijn)\b.{0,80}",
    re.IGNORECASE,
)


def without_signature(text: str) -> str:
    """The text above its signature; all of it if nothing stands above."""
    lines = text.split("\n")
    kept: list[str] = []
    for line in lines:
        stripped = line.strip()
        if DELIMITER.fullmatch(line) and any(one.strip() for one in kept):
            break
        if len(stripped) <= 160 and BY_A_DEVICE.fullmatch(stripped):
            continue
        kept.append(line)
    return "\n".join(kept) if any(line.strip() for line in kept) else text
