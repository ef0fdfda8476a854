"""What a task's requests and answers look like: its types, from which all else follows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from .messages import Request


class Contract(NamedTuple):
    """The types of one task.

    Clients decode answers by it; JSON Schema and the options of commands are made from it.

    Attributes:
        options: the options of a request; all fields have defaults.
        output: the output of an answer.
        request: the body of a request; a subclass of `Request` if it has other content than a text.
        piece: one piece of a streamed answer; None if the task's answers come whole.
        pieces: all pieces of a whole answer, in order. A client shows by it what no chunk has brought.
        takes_text: a text alone is a whole request, although ``request`` is a type of the task's own.
    """

    options: type[Struct]
    output: type[Any]
    request: type[Request] = Request
    piece: Any = None
    pieces: Callable[[Any], Sequence[Any]] | None = None
    takes_text: bool = False

    @property
    def is_text(self) -> bool:
        """Whether a text alone is a whole request."""
        return self.takes_text or self.request is Request
