"""The checks of a client's arguments. The error names the argument, what it may be, and what was given."""

import math
import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ...schemas import codec
from ...schemas.messages import Request
from ...schemas.topics import PRIORITIES
from ...schemas.wrappings import example_of
from ..config import KafkaConfig
from ..errors import MissingText, UsageError, WrongType
from ..tasks.catalogue import contract_of
from .replies import decoder

TASK: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""Kafka's characters of a topic, whose name has at most 249."""
MAX_SHOWN: Final = 40


class Kind(NamedTuple):
    """What an argument may be: a test, and the same in words."""

    allows: Callable[[Any], bool]
    words: str


def _is_task(value: object) -> bool:
    return isinstance(value, str) and TASK.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_priority(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in PRIORITIES)


def _is_timeout(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return math.isfinite(value) and value > 0


def _is_lease(value: object) -> bool:
    return value is None or (_is_timeout(value) and 1 <= value <= 3_600)  # type: ignore[operator]


def _is_key(value: object) -> bool:
    return value is None or isinstance(value, bytes)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_options(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) for name in value)
    return value is None or (isinstance(value, Struct) and not isinstance(value, Request))


def _is_dict(value: object) -> bool:
    return isinstance(value, dict) and _is_options(value)


def _is_reply_topic(value: object) -> bool:
    try:
        return value is None or (isinstance(value, str) and _is_task(value.format(task="a")))
    except (LookupError, ValueError, AttributeError):
        return False


def _is_kafka(value: object) -> bool:
    return isinstance(value, KafkaConfig) or (isinstance(value, str) and value.strip() != "")


def _is_output(value: object) -> bool:
    try:
        return value is None or decoder(value) is not None
    except (TypeError, ValueError):
        return False


def _is_items(value: object) -> bool:
    return isinstance(value, Iterable | AsyncIterable) and not isinstance(value, str | bytes | Request)


KINDS: Final = {
    "task": Kind(_is_task, "the name of a task, as in 'triage'"),
    "text": Kind(lambda value: isinstance(value, str | Request), "a string or a Request"),
    "texts": Kind(_is_items, "a list or another iterable of texts"),
    "id": Kind(_is_text, "a string or None"),
    "model": Kind(_is_text, "the name of a model or None"),
    "tenant": Kind(_is_text, "a string or None"),
    "priority": Kind(_is_priority, f"one of {', '.join(PRIORITIES)}, or None"),
    "timeout_s": Kind(_is_timeout, "a number of seconds greater than 0, or None for no limit"),
    "lease_s": Kind(_is_lease, "a number of seconds from 1 to 3600, or None for no lease"),
    "reason": Kind(lambda value: value in ("cancelled", "superseded"), "cancelled or superseded"),
    "key": Kind(_is_key, "bytes or None"),
    "traceparent": Kind(_is_text, "a string or None"),
    "options": Kind(_is_options, "a dict by names of options, or the task's own type, as TriageOptions"),
    "output": Kind(_is_output, "the type of the task's output, as TriageOutput"),
    "max_in_flight": Kind(_is_count, "a whole number of 1 or more"),
    "ordered": Kind(lambda value: isinstance(value, bool), "True or False"),
    "kafka": Kind(_is_kafka, "an address such as broker-1:9092, or a KafkaConfig"),
    "reply_topic": Kind(_is_reply_topic, "the name of a topic, in which {task} stands for the task, or None"),
    "prefix": Kind(lambda value: value is None or _is_task(value), "the prefix of names of topics, or None"),
    "embedded": Kind(lambda value: isinstance(value, str | Path), "the folder of an embedded broker"),
    "clock": Kind(callable, "a function that returns Unix time in seconds"),
}
HINTS: Final[dict[tuple[str, type], str]] = {
    ("text", bytes): ": decode it, as in text.decode()",
    ("texts", str): ", of which each character would be a request: write [text]",
    ("key", str): ": encode it, as in key.encode()",
}
CONTENT: Final = frozenset({"text", "options"})
"""Arguments that are in the body of the request: a worker would refuse them by the same code."""


def check(**arguments: object) -> None:
    """Raise WrongType for content of the wrong type, and UsageError for any other argument that may not be so."""
    for name, value in arguments.items():
        if not KINDS[name].allows(value):
            raise (WrongType if name in CONTENT else UsageError)(
                f"`{name}` must be {KINDS[name].words}, not {shown(value)}{_hint(name, value)}."
            )


def check_place(kafka: object, broker: object, embedded: object) -> None:
    """Raise UsageError unless exactly one of the three is given, and may be so."""
    if [kafka, broker, embedded].count(None) != 2:
        raise UsageError("Give the client one of: a Kafka address, broker=…, embedded=FOLDER.")
    if kafka is not None:
        check(kafka=kafka)
    if embedded is not None:
        check(embedded=embedded)


def id_of(item: object) -> str | None:
    """The id of an item of `Client.map`, if it has a valid one."""
    return item.id if isinstance(item, Request) and isinstance(item.id, str) else None


def shown(value: object) -> str:
    """The value if it is short and plain, else its type. Texts and bytes may be private: only short names are shown."""
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and value.isascii()):
        described = repr(value)
        if len(described) <= MAX_SHOWN:
            return described
    return type(value).__name__


def check_item(item: object, task: str) -> None:
    """Check one item of `Client.map`. Raises BadRequest."""
    if isinstance(item, Request):
        check_request(item, task)
    elif not isinstance(item, str):
        raise WrongType(f"An item is a string or a Request, not {shown(item)}: leave it out.")
    else:
        _check_kind(item, task)


def check_request(request: Request, task: str) -> None:
    """Check the type of the request and those of its fields, as a worker does. Raises BadRequest.

    A Request can be made with any values, since msgspec checks them only when it decodes.
    """
    _check_kind(request, task)
    if type(request) is Request:
        if isinstance(request.text, str):
            _check_fields(request)
            return
        if request.text is msgspec.UNSET:
            raise MissingText("The Request has no `text`: give it one.")
        raise WrongType(f"The field `text` of the Request must be a string, not {shown(request.text)}.")
    try:
        msgspec.json.decode(codec.encode(request), type=type(request))
    except msgspec.ValidationError as error:
        raise WrongType(f"The {type(request).__name__} has a field of the wrong type: {error}.") from None
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError):
        return  # refused where it is encoded to be sent, by the sentence for that


def _check_kind(content: Request | str, task: str) -> None:
    """Refuse a text for a task whose requests have other content. A task that is not installed here may take any."""
    contract = contract_of(task)
    kind = contract.request if contract else Request
    if kind is not Request and not isinstance(content, kind):
        raise WrongType(
            f"A request to {task!r} is of the type {kind.__name__}, with {example_of(kind)}, "
            f"not {type(content).__name__}."
        )


def check_options_type(given: Struct, task: str) -> None:
    """Raise WrongType for options of another task's type. A task that is not installed here may have any."""
    contract = contract_of(task)
    if contract and not isinstance(given, contract.options):
        kind = contract.options.__name__
        raise WrongType(
            f"`options` of {task!r} must be a dict or of the type {kind}, not {type(given).__name__}."
        )


def _check_fields(request: Request) -> None:
    for name, value, allowed, words in (
        ("id", request.id, _is_text(request.id), "a string or None"),
        ("task", request.task, _is_text(request.task), "a string or None"),
        ("options", request.options, _is_dict(request.options), "a dict"),
        ("stream", request.stream, isinstance(request.stream, bool), "True or False"),
    ):
        if not allowed:
            raise WrongType(f"The field `{name}` of the Request must be {words}, not {shown(value)}.")


def options_of(given: Mapping[str, Any] | Struct | None) -> dict[str, Any]:
    """The options to send. Those of a type like TriageOptions are sent where they differ from their defaults."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    values = msgspec.structs.asdict(given)
    return {
        field.encode_name: values[field.name]
        for field in msgspec.structs.fields(given)
        if field.required or values[field.name] != _default(field)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _hint(name: str, value: object) -> str:
    return next((hint for (of, kind), hint in HINTS.items() if of == name and isinstance(value, kind)), "")
