"""Checks what a package brings as a task: its faults are told before a worker or a client meets them."""

import re
from collections.abc import Iterator
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct, structs

from ...schemas.contract import Contract
from ...schemas.json_schema import json_schema, types_of
from ...schemas.messages import Request
from ..config import Config

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME: Final = 50
COMMANDS: Final = (
    "audit",
    "bench",
    "bench-assistant",
    "bench-translate",
    "chaos",
    "chat",
    "dead-letters",
    "demo",
    "kafka",
    "models",
    "optimize",
    "request",
    "tasks",
    "topics",
    "worker",
)
RESERVED: Final = frozenset(COMMANDS) | {one.name for one in structs.fields(Config)}
"""Names of commands and of other tables of settings: a variable would belong to both."""


def faults(name: str, definition: Any) -> Iterator[str]:
    """What is wrong with the definition at the entry point ``name``, as the rest of a sentence.

    A fault may be the reason of those after it.
    """
    if not NAME.fullmatch(name) or len(name) > MAX_NAME or name in RESERVED:
        yield (
            f"has a name that a task cannot have: use at most {MAX_NAME} small letters, digits and single "
            "hyphens, and neither the name of a command nor of a table of settings"
        )
    if (own := getattr(definition, "name", None)) != name:
        yield f"has the `name` {own!r}, which must be that of its entry point"
    contract = getattr(definition, "contract", None)
    if not isinstance(contract, Contract):
        yield "has no `contract`, which must be a Contract"
        return
    if not _is_subclass(contract.request, Request):
        yield "has a contract whose `request` is not a subclass of Request"
    settings = getattr(definition, "settings", None)
    yield from _faults_of_fields("contract.options", contract.options)
    yield from _faults_of_defaults("contract.options", contract.options)
    yield from _faults_of_settings(settings)
    pieces: Any = contract.pieces
    if pieces is not None and not callable(pieces):
        yield "has a contract whose `pieces` is no function"
    if not callable(getattr(definition, "load", None)):
        yield "has no method `load`"
    for label, kind in (*types_of(contract).items(), ("settings", settings)):
        if reason := _unreadable(kind):
            yield f"has a type of its {label} that cannot be used ({reason})"


def _faults_of_fields(label: str, kind: Any) -> Iterator[str]:
    """What is wrong with a type of which values are made without arguments."""
    if not _is_subclass(kind, Struct):
        yield f"has no `{label}`, which must be a subclass of msgspec.Struct"
    elif missing := [field.name for field in structs.fields(kind) if field.required]:
        yield f"has `{label}` without a default for {', '.join(missing)}"


def _faults_of_settings(kind: Any) -> Iterator[str]:
    yield from _faults_of_fields("settings", kind)
    if "model" not in getattr(kind, "__struct_fields__", ()):
        yield "has `settings` without a field `model`, the name of a model"
    yield from _faults_of_defaults("settings", kind)
    model: Any = kind().model
    if not isinstance(model, str):
        yield "has `settings` whose `model` is no text by default: it must be the name of a model"


def _faults_of_defaults(label: str, kind: Any) -> Iterator[str]:
    """What is wrong with a type whose values cannot be read from an object with some fields, or with none."""
    none: dict[str, Any] = {}
    for given in (none, msgspec.to_builtins(kind())):
        try:
            msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            yield f"has `{label}` whose defaults are not accepted ({error})"


def _unreadable(kind: Any) -> str | None:
    """Why values of this type cannot be read, or its fields not be described."""
    try:
        msgspec.json.Decoder(kind)
        json_schema(kind)
        if _is_subclass(kind, Struct):
            get_type_hints(kind)
    except Exception as error:  # types of a package may raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


def _is_subclass(kind: Any, of: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, of)
