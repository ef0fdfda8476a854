"""A text of a step's request, made of what is known when the step before has answered."""

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from ...errors import UsageError

ASKED: Final = "text"
REQUEST: Final = "request.text"
OUTPUT: Final = "output"
FIELD: Final = f"{OUTPUT}."
DEFAULT: Final = "{output.text}"
LINES: Final = "lines"
SPEC: Final = re.compile(rf"({LINES})?(?:\.(\d{{1,9}}))?")
MAX_SHOWN: Final = 80
"""Characters of a text in a sentence: that of a prompt has pages."""

Fields = dict[str, Raw]

_fields: Final = msgspec.json.Decoder(Fields)
_strings: Final = msgspec.json.Decoder(str)
_lists: Final = msgspec.json.Decoder(list[Raw])


class Before(NamedTuple):
    """What the settings say of the step before.

    Attributes:
        output: the type of its answer's output.
        has_text: whether it is asked a text.
    """

    output: Any
    has_text: bool = True


class Known(NamedTuple):
    """What a step can be asked of.

    Attributes:
        request: the text that the chain was asked.
        text: the text that the step before was asked; empty if it was asked none.
        output: the JSON of its answer's output.
    """

    request: str
    text: str
    output: bytes

    def fields(self) -> Fields:
        """The fields of the answer. Raises msgspec.DecodeError for an output without fields."""
        return _fields.decode(self.output)


class Place(NamedTuple):
    """A place in a text, as ``{output.names:lines.500}``: what it takes, how, and at most how many characters."""

    name: str
    lines: bool
    most: int | None

    @property
    def field(self) -> str | None:
        """The field of the answer that it takes, if it takes one."""
        return self.name.removeprefix(FIELD) if self.name.startswith(FIELD) else None

    def of(self, known: Known, fields: Fields) -> str:
        if self.name == ASKED:
            text = known.text
        elif self.name == REQUEST:
            text = known.request
        else:
            value = known.output if self.field is None else bytes(fields.get(self.field, b"null"))
            text = _lines(value) if self.lines else _text(value)
        return text[: self.most]


class StepText:
    """A text with places; see `StepConfig.text`.

    One pass fills it, in time linear in what it makes: braces in an answer stay as they are.
    """

    def __init__(self, template: str, before: Before) -> None:
        """Raises UsageError, with the rest of a sentence about a step."""
        shown = repr(template if len(template) <= MAX_SHOWN else f"{template[:MAX_SHOWN]}…")
        try:
            self._parts = list(_parts(template))
        except ValueError as error:
            raise UsageError(f"has the text {shown}, which is no such text ({error})") from error
        for place in self.places:
            if fault := _fault(place, before):
                raise UsageError(f"is asked {shown}, but {fault}")

    @property
    def places(self) -> list[Place]:
        return [place for _, place in self._parts if place is not None]

    def of(self, known: Known, fields: Fields) -> str:
        """The text. What the answer lacks, or is null, is left empty. ``fields``: those of `Known.fields`."""
        written = []
        for literal, place in self._parts:
            written.append(literal)
            if place is not None:
                written.append(place.of(known, fields))
        return "".join(written)


def _parts(template: str) -> Iterator[tuple[str, Place | None]]:
    for literal, name, how, conversion in Formatter().parse(template):
        if name is None:
            yield literal, None
            continue
        spec = SPEC.fullmatch(how or "")
        if spec is None or conversion:
            raise ValueError(
                f"a place is a name, as in {DEFAULT}, with :{LINES}, :.500 or :{LINES}.500 behind it"
            )
        yield literal, Place(name, bool(spec[1]), int(spec[2]) if spec[2] else None)


def _fault(place: Place, before: Before) -> str | None:
    """What is wrong with a place behind such a step."""
    if place.name in (REQUEST, OUTPUT):
        return None
    if place.name == ASKED:
        return None if before.has_text else f"the step before is asked no text: write {{{REQUEST}}}"
    if place.field is None:
        return f"{{{place.name}}} is none of {{text}}, {{{REQUEST}}}, {{output}} and {{output.NAME}}"
    output = before.output
    if not (isinstance(output, type) and issubclass(output, Struct)):
        return f"the answer of the step before has no fields: write text = {'{output}'!r}"
    if place.field not in (known := output.__struct_encode_fields__):
        names = ", ".join(known)
        return f"the answer of the step before has no field {place.field!r}: write a text with any of {names}"
    return None


def _text(value: bytes) -> str:
    """A string as it is, anything else as its JSON, null as nothing."""
    if value == b"null":
        return ""
    return _strings.decode(value) if value.startswith(b'"') else value.decode()


def _lines(value: bytes) -> str:
    """Each item of a list on a line of its own."""
    if not value.startswith(b"["):
        return _text(value)
    return "\n".join(_text(bytes(item)) for item in _lists.decode(value))
