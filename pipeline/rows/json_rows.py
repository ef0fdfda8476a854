"""Objects of JSON Lines, strictly: what JSON leaves open (a key that stands twice, NaN) is refused."""

import json
from typing import Any


class NotAnObject(ValueError):
    """The line is not one JSON object; the message completes "line 3 …"."""


def json_object(line: str) -> dict[str, Any]:
    """The object in ``line``. Raises NotAnObject."""
    try:
        value = json.loads(line, object_pairs_hook=_unique, parse_constant=_refused)
    except NotAnObject:
        raise
    except (ValueError, RecursionError) as error:
        raise NotAnObject(f"is not JSON ({_reason(error)})") from error
    if not isinstance(value, dict):
        raise NotAnObject('is not a JSON object such as {"text": "I was charged twice"}')
    return value


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "it is nested too deeply"
        case json.JSONDecodeError(msg=problem, colno=column):
            return f"{problem[0].lower()}{problem[1:]} at character {column}"
    return str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotAnObject(f"has the key {twice!r} twice: leave one out")
    return found


def _refused(name: str) -> Any:
    raise NotAnObject(f"holds {name}, which JSON has not: write null or a number")
