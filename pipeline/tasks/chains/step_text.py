"""What a step of a chain is asked, made of the answer of the step before."""

from collections.abc import Iterator
from string import Formatter
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from ...errors import UsageError

ASKED: Final = "text"
OUTPUT: Final = "output"
FIELD: Final = f"{OUTPUT}."
DEFAULT: Final = "{output.text}"

_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_strings: Final = msgspec.json.Decoder(str)


class StepText:
    """A text with placeholders that are filled from an answer; see `StepConfig.text`.

    One pass fills it: braces in an answer stay as they are.
    """

    def __init__(self, template: str, output: Any) -> None:
        """``output``: the type of the answer's output. Raises UsageError, with the rest of a sentence about a step."""
        try:
            self._parts = list(_parts(template))
        except ValueError as error:
            raise UsageError(f"has the text {template!r}, which is no such text ({error})") from error
        for placeholder in self.placeholders:
            if fault := _fault(placeholder, output):
                raise UsageError(f"is asked {template!r}, but {fault}")

    @property
    def placeholders(self) -> list[str]:
        return [placeholder for _, placeholder in self._parts if placeholder is not None]

    def of(self, asked: str, output: bytes) -> str:
        """The text. ``asked``: what the step before was asked; ``output``: the JSON of its answer's output.

        What the answer lacks, or is null, is left empty. Raises msgspec.DecodeError for an output without fields.
        """
        fields = (
            _fields.decode(output)
            if any(placeholder.startswith(FIELD) for placeholder in self.placeholders)
            else {}
        )
        written = []
        for literal, placeholder in self._parts:
            written.append(literal)
            if placeholder == ASKED:
                written.append(asked)
            elif placeholder == OUTPUT:
                written.append(output.decode())
            elif placeholder is not None:
                written.append(_text(bytes(fields.get(placeholder.removeprefix(FIELD), b"null"))))
        return "".join(written)


def _parts(template: str) -> Iterator[tuple[str, str | None]]:
    for literal, placeholder, how, conversion in Formatter().parse(template):
        if how or conversion:
            raise ValueError(f"a placeholder is a name alone, as in {DEFAULT}")
        yield literal, placeholder


def _fault(placeholder: str, output: Any) -> str | None:
    """What is wrong with a placeholder, if the answer's output is of this type."""
    if placeholder in (ASKED, OUTPUT):
        return None
    name = placeholder.removeprefix(FIELD)
    if name == placeholder:
        return f"{{{placeholder}}} is none of {{text}}, {{output}} and {{output.NAME}}"
    if not (isinstance(output, type) and issubclass(output, Struct)):
        return f"the answer of the step before has no fields: write text = {'{output}'!r}"
    if name not in (known := output.__struct_encode_fields__):
        return (
            f"the answer of the step before has no field {name!r}: set `text`, with any of {', '.join(known)}"
        )
    return None


def _text(value: bytes) -> str:
    """A string as it is, anything else as its JSON, null as nothing."""
    if value == b"null":
        return ""
    return _strings.decode(value) if value.startswith(b'"') else value.decode()
