"""The messages of a conversation, as a program gives them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ....schemas.generation import ChatMessage
from ...errors import WrongType
from ..arguments import shown

Messages = Sequence[ChatMessage | Mapping[str, str]]


def messages_of(given: Any) -> list[ChatMessage]:
    """The messages. Raises WrongType for what is none."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise WrongType(
            "`messages` must be a list of messages, as "
            f'[{{"role": "user", "content": "Hello"}}], not {shown(given)}.'
        )
    return [_message_of(one, number) for number, one in enumerate(given)]


def _message_of(given: Any, number: int) -> ChatMessage:
    # A ChatMessage is converted too: msgspec does not check the fields of a struct that a program makes.
    fields = msgspec.structs.asdict(given) if isinstance(given, ChatMessage) else given
    try:
        return msgspec.convert(fields, ChatMessage)
    except msgspec.ValidationError as error:
        raise WrongType(
            f'Message {number} must have a "role" and a "content", both strings ({error}).'
        ) from None
