"""Reads what a generate request is about: a text or the messages of a conversation."""

from typing import Final

from msgspec import UNSET, Struct

from ....schemas.generation import ChatMessage, GenerateRequest
from ....schemas.messages import Request
from ...errors import BadRequest, BlankText, MissingText
from ..normal_form import MAX_CHARACTERS, normal_form

ROLES: Final = ("system", "user", "assistant", "tool")
EITHER: Final = 'send `text`, a prompt, or `messages`, as in [{"role": "user", "content": "Hello"}]'


class Prompt(Struct, frozen=True):
    """What decides an answer: one of both, in normal form."""

    text: str | None = None
    messages: tuple[ChatMessage, ...] = ()


def read_prompt(request: Request) -> Prompt:
    """In time linear in the size of the request. Raises MissingText, BlankText or BadRequest."""
    messages = request.messages if isinstance(request, GenerateRequest) else UNSET
    if messages is UNSET:
        return Prompt(text=_text(request))
    if request.text is not UNSET:
        raise BadRequest(f"The request has a text and messages: {EITHER}.")
    return Prompt(messages=_conversation(messages))


def _text(request: Request) -> str:
    text = request.text
    if text is UNSET:
        raise MissingText(f"The request has neither a text nor messages: {EITHER}.")
    if not text or text.isspace():
        raise BlankText("The text is blank: there is nothing to go on from.")
    return _normal(text)


def _conversation(messages: list[ChatMessage]) -> tuple[ChatMessage, ...]:
    if not messages:
        raise MissingText(f"The list of messages is empty: {EITHER}.")
    for number, message in enumerate(messages, 1):
        if message.role not in ROLES:
            raise BadRequest(
                f"Message {number} has the role {message.role[:20]!r}; the roles are: {', '.join(ROLES)}."
            )
    if all(not message.content or message.content.isspace() for message in messages):
        raise BlankText("All messages are blank: there is nothing to answer.")
    if sum(len(message.content) for message in messages) > MAX_CHARACTERS:
        return tuple(messages)  # too long for a normal form, see there
    return tuple(ChatMessage(message.role, _normal(message.content)) for message in messages)


def _normal(text: str) -> str:
    """The text in normal form, with the spaces at its ends: a prompt may end in one."""
    begin = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    return f"{text[:begin]}{normal_form(text[begin:end])}{text[end:]}" if begin < end else text
