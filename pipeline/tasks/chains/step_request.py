"""What a step of a chain is asked: the content of a request, whose texts are made of what is known."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ....schemas.messages import Request
from ...errors import UsageError
from .step_text import DEFAULT, REQUEST, Before, Fields, Known, Place, StepText

TEXT: Final = "text"
OF_ALL: Final = frozenset(Request.__struct_encode_fields__) - {TEXT}
"""Fields of each request that are no content: the caller sets them, or the chain."""

SAMPLE: Final = "a text"


class StepRequest:
    """The content of a step's request, see `StepConfig.request`.

    Attributes:
        has_text: whether the step is asked a text.
        asks_request: whether it is asked of the text that the chain was asked.
    """

    def __init__(self, content: Mapping[str, Any], before: Before, task: str, kind: type[Request]) -> None:
        """``kind``: the type of the task's requests. Raises UsageError, with the rest of a sentence about a step."""
        _check_names(content, task, kind)
        self._content = _compiled(content, before)
        places = _places(self._content)
        self.has_text = TEXT in content
        self.asks_request = any(place.name == REQUEST for place in places)
        self._asks_fields = any(place.field is not None for place in places)
        try:
            msgspec.convert(_filled(self._content, lambda _: SAMPLE), kind)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `$.")
            place = f" at {where.rstrip('`')}" if where else ""
            raise UsageError(f"has a wrong request{place} ({reason[:1].lower()}{reason[1:]})") from error

    def of(self, known: Known) -> dict[str, Any]:
        """The fields of the request. Raises msgspec.DecodeError for an output without fields, if any is needed."""
        fields: Fields = known.fields() if self._asks_fields else {}
        made: dict[str, Any] = _filled(self._content, lambda text: text.of(known, fields))
        return made


def step_content(text: str | None, request: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What the settings of a step say that it is asked. Raises UsageError, with the rest of a sentence."""
    if request is None:
        return {TEXT: DEFAULT if text is None else text}
    if text is not None:
        raise UsageError("has a `text` and a `request`: leave one of them out")
    return request


def _check_names(content: Mapping[str, Any], task: str, kind: type[Request]) -> None:
    allowed = [name for name in kind.__struct_encode_fields__ if name not in OF_ALL]
    known = f"a request to {task!r} has: {', '.join(allowed)}"
    if not content:
        raise UsageError(f"has an empty `request`; {known}")
    for name in content:
        if name not in allowed:
            raise UsageError(f"has a `request` with the field {name!r}; {known}")


def _compiled(content: Any, before: Before) -> Any:
    """The content with a StepText for each text that is no name of a field."""
    if isinstance(content, str):
        return StepText(content, before)
    if isinstance(content, Mapping):
        return {name: _compiled(value, before) for name, value in content.items()}
    if isinstance(content, list):
        return [_compiled(value, before) for value in content]
    return content


def _filled(content: Any, fill: Callable[[StepText], str]) -> Any:
    """The content with a text in the place of each StepText."""
    if isinstance(content, StepText):
        return fill(content)
    if isinstance(content, dict):
        return {name: _filled(value, fill) for name, value in content.items()}
    if isinstance(content, list):
        return [_filled(value, fill) for value in content]
    return content


def _places(content: Any) -> list[Place]:
    """Those of all texts of the content."""
    found: list[Place] = []

    def look(text: StepText) -> str:
        found.extend(text.places)
        return ""

    _filled(content, look)
    return found
