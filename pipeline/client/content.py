"""The checks of what a request is about: its text or other content, and its options. A worker checks the same."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from ...schemas import codec
from ...schemas.messages import Request
from ...schemas.wrappings import example_of
from ..errors import MissingText, WrongType
from ..tasks.catalogue import contract_of
from .arguments import is_options, is_text, shown


def id_of(item: object) -> str | None:
    """The id of an item of `Client.map`, if it has a valid one."""
    return item.id if isinstance(item, Request) and isinstance(item.id, str) else None


def item_request(item: object, task: str, options: Mapping[str, Any]) -> Request:
    """The request for an item of `Client.map`; its own options override ``options``. Raises BadRequest."""
    if isinstance(item, Request):
        check_request(item, task)
        return structs.replace(item, options={**options, **item.options})
    if not isinstance(item, str):
        raise WrongType(f"An item is a string or a Request, not {shown(item)}: leave it out.")
    _check_kind(item, task)
    return Request(text=item, options=dict(options))


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
    if contract is None or contract.is_text:
        return
    kind = contract.request
    if not isinstance(content, kind):
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
        ("id", request.id, is_text(request.id), "a string or None"),
        ("task", request.task, is_text(request.task), "a string or None"),
        (
            "options",
            request.options,
            _is_dict(request.options),
            "a dict",
        ),
        ("stream", request.stream, isinstance(request.stream, bool), "True or False"),
        ("final", request.final, isinstance(request.final, bool), "True or False"),
        ("supersedes", request.supersedes, is_text(request.supersedes), "a string or None"),
    ):
        if not allowed:
            raise WrongType(f"The field `{name}` of the Request must be {words}, not {shown(value)}.")
    check_numbers(request.options)


def _is_dict(value: object) -> bool:
    return isinstance(value, dict) and is_options(value)


def options_of(given: Mapping[str, Any] | Struct | None) -> dict[str, Any]:
    """The options to send. Those of a type like TriageOptions are sent where they differ from their defaults."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    values = structs.asdict(given)
    return {
        field.encode_name: values[field.name]
        for field in structs.fields(given)
        if field.required or values[field.name] != _default(field)
    }


def check_numbers(options: Mapping[str, Any]) -> None:
    """Raise WrongType for an option that is no number in JSON: it would arrive as null, which is the default."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongType(f"The option {name!r} must be a finite number, not {value}.")


def _default(field: structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
