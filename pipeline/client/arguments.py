"""The checks of a client's arguments. The error names the argument, what it may be, and what was given."""

import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import Struct

from ...schemas.messages import Request
from ...schemas.topics import PRIORITIES
from ..config import KafkaConfig
from ..errors import UsageError, WrongType
from .replies import decoder

TASK: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
"""Kafka's characters of a topic, whose name has at most 249."""
MAX_SHOWN: Final = 40
MAX_TIMEOUT_S: Final = 1e9
"""32 years. A deadline much later is no number that a header can hold."""


class Kind(NamedTuple):
    """What an argument may be: a test, and the same in words."""

    allows: Callable[[Any], bool]
    words: str


def _is_task(value: object) -> bool:
    return isinstance(value, str) and TASK.fullmatch(value) is not None


def is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_priority(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in PRIORITIES)


def _is_timeout(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return 0 < value <= MAX_TIMEOUT_S


def _is_language(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 35  # RFC 5646 asks readers for as many


def _is_name(value: object) -> bool:
    return value is None or (isinstance(value, str) and 1 <= len(value) <= 200)


def _is_lease(value: object) -> bool:
    return value is None or (_is_timeout(value) and 1 <= value <= 3_600)  # type: ignore[operator]


def _is_key(value: object) -> bool:
    return value is None or isinstance(value, bytes)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_options(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) for name in value)
    return value is None or (isinstance(value, Struct) and not isinstance(value, Request))


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
    "id": Kind(is_text, "a string or None"),
    "model": Kind(is_text, "the name of a model or None"),
    "tenant": Kind(is_text, "a string or None"),
    "priority": Kind(_is_priority, f"one of {', '.join(PRIORITIES)}, or None"),
    "timeout_s": Kind(
        _is_timeout, "a number of seconds greater than 0 and at most 1e9, or None for no limit"
    ),
    "lease_s": Kind(_is_lease, "a number of seconds from 1 to 3600, or None for no lease"),
    "reason": Kind(lambda value: value in ("cancelled", "superseded"), "cancelled or superseded"),
    "key": Kind(_is_key, "bytes or None"),
    "near": Kind(_is_key, "bytes or None"),
    "traceparent": Kind(is_text, "a string or None"),
    "label": Kind(
        lambda value: isinstance(value, Mapping) and is_options(value) and bool(value),
        "a dict with values of the right answer, as {'category': 'billing'}",
    ),
    "options": Kind(is_options, "a dict by names of options, or the task's own type, as TriageOptions"),
    "output": Kind(_is_output, "the type of the task's output, as TriageOutput"),
    "spread": Kind(_is_count, "a whole number of 1 or more"),
    "max_in_flight": Kind(_is_count, "a whole number of 1 or more"),
    "ordered": Kind(lambda value: isinstance(value, bool), "True or False"),
    "source": Kind(_is_language, "the code of a language, as 'en'"),
    "target": Kind(_is_language, "the code of a language, as 'pt'"),
    "mode": Kind(lambda value: value in ("live", "stable", "final"), "live, stable or final"),
    "name": Kind(_is_name, "a text of 1 to 200 characters, or None"),
    "hold_back_s": Kind(
        lambda value: value is not None and _is_timeout(value), "a number of seconds greater than 0"
    ),
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


def shown(value: object) -> str:
    """The value if it is short and plain, else its type. Texts and bytes may be private: only short names are shown."""
    if value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and value.isascii()):
        with suppress(ValueError):  # an int of more digits than Python prints
            described = repr(value)
            if len(described) <= MAX_SHOWN:
                return described
    return type(value).__name__


def _hint(name: str, value: object) -> str:
    return next((hint for (of, kind), hint in HINTS.items() if of == name and isinstance(value, kind)), "")
