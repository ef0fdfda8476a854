"""A request as the test of a user sees it."""

from typing import Any

import msgspec
from msgspec import Struct

from ...schemas.codec import decode_request
from ...schemas.messages import Request
from ...schemas.topics import ANY_ORDER, Header, header_values
from ..broker.base import Message
from ..tasks.catalogue import contract_of
from ..tasks.options import checked_options


class SentRequest(Struct, frozen=True):
    """A request as a client has sent it.

    Attributes:
        text: empty for a task whose content is not one text.
        id: of an item of `map` without an id: its position.
        key: the record key; None if the content decides it, so that no order is asked for.
        timeout_s: None if there is no limit.
        body: the whole body.
    """

    task: str
    text: str
    id: str
    options: dict[str, Any]
    model: str | None
    tenant: str | None
    priority: str | None
    timeout_s: float | None
    key: bytes | None
    traceparent: str | None
    body: Request

    @property
    def stream(self) -> bool:
        """Whether the answer shall come in pieces."""
        return self.body.stream


def sent_request(task: str, message: Message, request: Request) -> SentRequest:
    """The request as its caller knows it. The client's clock must stand at 0."""
    values = {name: value.decode() for name, value in header_values(message.headers).items()}
    deadline_ms = values.get(Header.DEADLINE_MS)
    return SentRequest(
        task,
        "" if request.text is msgspec.UNSET else request.text,
        caller_id(request.id or ""),
        request.options,
        values.get(Header.MODEL),
        values.get(Header.TENANT),
        values.get(Header.PRIORITY),
        None if deadline_ms is None else int(deadline_ms) / 1e3,
        None if values.get(Header.ORDER) == ANY_ORDER.decode() else message.key,
        values.get(Header.TRACEPARENT),
        request,
    )


def caller_id(wire_id: str) -> str:
    """The id as the caller knows it: `map` adds a number of its own to those of its items."""
    return wire_id.rpartition("#")[0] or wire_id


def decoded(task: str, value: bytes) -> Request:
    """The body as a worker reads it. That of a task which is not installed here may hold anything.

    Raises DecodeError.
    """
    contract = contract_of(task)
    return decode_request(value, contract.request) if contract else msgspec.json.decode(value, type=Request)


def check_options(sent: SentRequest) -> None:
    """Check the options as a worker does, if the task is installed. Raises UnknownOption or WrongType."""
    if contract := contract_of(sent.task):
        checked_options(sent.task, sent.options, contract.options)
