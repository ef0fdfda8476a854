"""The keyword arguments of a client's methods, as types."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

from ...schemas.messages import Failure, Request

Content = str | Request
"""What a request is about: a text, or a Request, whose own fields go before the arguments."""
Item = str | Request | Failure
Items = Iterable[Item] | AsyncIterable[Item]
Priority = Literal["high", "normal", "low"]
Plain = Mapping[str, Any]
DEFAULT_TIMEOUT_S: Final = 30.0
STREAM_LEASE_S: Final = 10.0
"""What is made for a process that has ended need not go on: a stream is long, and shown while it is made."""

Options = TypeVar("Options")


class Keywords(TypedDict, Generic[Options], total=False):
    """Those of each method; ``Options`` is the type of the task's options."""

    options: Options | Plain | None
    model: str | None
    tenant: str | None
    priority: Priority | None
    timeout_s: float | None
    lease_s: float | None


class RequestKeywords(Keywords[Options], total=False):
    """Those of `request`."""

    id: str | None
    key: bytes | None
    traceparent: str | None


class MapKeywords(Keywords[Options], total=False):
    """Those of `map`."""

    max_in_flight: int
    ordered: bool
