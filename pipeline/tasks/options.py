"""Checks the options of a request against the task's type."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from ..errors import UnknownOption, WrongType

Options = TypeVar("Options", bound=Struct)


def checked_options(task: str, given: Mapping[str, Any], kind: type[Options]) -> Options:
    """The options as ``kind``. Raises UnknownOption or WrongType."""
    known = kind.__struct_encode_fields__
    if unknown := sorted(given.keys() - set(known)):
        names = f"its options are: {', '.join(sorted(known))}" if known else "it has none"
        raise UnknownOption(f"{task.capitalize()} has no option {unknown[0][:50]!r}; {names}.")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        raise WrongType(f"The option {where.rstrip('`')!r} has the wrong type: {reason}.") from error
