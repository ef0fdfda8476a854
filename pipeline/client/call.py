"""The arguments that the methods of a client share."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, structs

from ...schemas.messages import Request
from .arguments import check
from .content import check_numbers, check_options_type, check_request, options_of
from .envelope import Envelope
from .keywords import Content


class Call(Struct, frozen=True):
    """The checked arguments that all methods share. Raises UsageError or WrongType for a wrong one."""

    task: str
    envelope: Envelope
    given: Any = None
    output: Any = None

    def __post_init__(self) -> None:
        check(task=self.task, options=self.given, output=self.output)
        if isinstance(self.given, Struct):
            check_options_type(self.given, self.task)
        check_numbers(self.options)

    @property
    def options(self) -> dict[str, Any]:
        return options_of(self.given)

    def request(self, content: Content, request_id: str | None, new_id: Callable[[], str]) -> Request:
        """The request to send. Raises BadRequest for content of the wrong type."""
        request = content if isinstance(content, Request) else Request(text=content)
        check_request(request, self.task)
        options = {**self.options, **request.options}
        return structs.replace(request, id=request_id or request.id or new_id(), options=options)
