"""Reads docstrings of message types: what they say of the type, and of each field below "Attributes:"."""

import inspect
import re
from typing import Final

FIELD: Final = re.compile(r"    (\w+): (.*)")


def described(docstring: str) -> tuple[str, dict[str, str]]:
    """The text without its attributes, and the text of each field."""
    summary, _, attributes = inspect.cleandoc(docstring).partition("\n\nAttributes:\n")
    fields: dict[str, str] = {}
    name = ""
    for line in attributes.splitlines():
        if found := FIELD.fullmatch(line):
            name = found[1]
            fields[name] = _plain(found[2])
        elif name and line.strip():
            fields[name] += f" {_plain(line.strip())}"
    return _plain(summary), fields


def _plain(text: str) -> str:
    return text.replace("``", "`")
